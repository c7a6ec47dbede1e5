import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.ndimage import uniform_filter

from noiseproof.layouts.layout import layout_of
from noiseproof.models import convnet, mlp
from noiseproof.rivals.decayed_adam import (
    Decays,
    add_decays,
    decayed_adam,
    neighborhood_mean,
)
from noiseproof.types import TensorRole

SHAPE = (8, 6, 2)
MODELS = {
    "mlp": mlp(image_shape=SHAPE, num_classes=3, hidden_sizes=(4, 4), norm="layer"),
    "convnet": convnet(image_shape=SHAPE, num_classes=3, channels=(4, 4), norm="layer"),
}


def normal_like(params, seed):
    generator = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.array(generator.normal(size=leaf.shape)), params)


def params_of(name):
    """Weights, biases and gains that are all different."""
    return normal_like(jax.eval_shape(MODELS[name].init, jax.random.key(0)), 9)


def pulls(name, **decays):
    """What the decays add to an update of zeros."""
    params = params_of(name)
    transform = add_decays(Decays(**decays), layout_of(params, SHAPE))
    added, _ = transform.update(optax.tree.zeros_like(params), transform.init(params), params)
    return params, added


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


def filters_of(name, weight):
    """The first layer's filters: height, width, channels, units."""
    return np.asarray(weight).reshape((*SHAPE, 4) if name == "mlp" else (3, 3, 2, 4))


def zero_but(added, layer, tensor):
    """Every other tensor is left alone."""
    for index, tensors in enumerate(added):
        for key, value in tensors.items():
            if (index, key) != (layer, tensor):
                assert float(jnp.abs(value).max()) == 0.0, (index, key)


def test_weights_decay_towards_zero(name):
    params, added = pulls(name, weights=0.7)
    for layer, change in zip(params, added, strict=True):
        np.testing.assert_allclose(change["weight"], 0.7 * layer["weight"], rtol=1e-6)
        assert float(jnp.abs(change["bias"]).max()) == 0.0
    assert float(jnp.abs(added[0]["gain"]).max()) == 0.0


def test_biases_decay_towards_zero(name):
    params, added = pulls(name, biases=0.7)
    for layer, change in zip(params, added, strict=True):
        np.testing.assert_allclose(change["bias"], 0.7 * layer["bias"], rtol=1e-6)
        assert float(jnp.abs(change["weight"]).max()) == 0.0
    assert float(jnp.abs(added[0]["gain"]).max()) == 0.0


def test_filters_decay_towards_their_spatial_mean(name):
    """The mean of SciPy, over height and width alone, edges repeated."""
    params, added = pulls(name, roughness=0.7)
    filters = filters_of(name, params[0]["weight"])
    smooth = uniform_filter(filters, size=(3, 3, 1, 1), mode="nearest")
    found = filters_of(name, added[0]["weight"])
    np.testing.assert_allclose(found, 0.7 * (filters - smooth), rtol=1e-4, atol=1e-6)
    zero_but(added, 0, "weight")


def test_means_of_filters_decay(name):
    """A whole step of it leaves every filter without a mean, and changes nothing else of it."""
    params, added = pulls(name, means=1.0)
    filters = filters_of(name, params[0]["weight"])
    found = filters_of(name, added[0]["weight"])
    mean = filters.mean(axis=(0, 1, 2), keepdims=True)
    np.testing.assert_allclose(found, np.broadcast_to(mean, found.shape), rtol=1e-4, atol=1e-6)
    zero_but(added, 0, "weight")


def test_even_filters_are_smooth():
    even = jnp.ones((5, 4, 2, 3)) * jnp.arange(3.0)
    np.testing.assert_allclose(neighborhood_mean(even), even, rtol=1e-6)


def train(optimizer, params):
    state = optimizer.init(params)
    for seed in range(3):
        updates, state = optimizer.update(normal_like(params, seed), state, params)
        params = optax.apply_updates(params, updates)
    return params


def test_without_decays_it_is_adam(name):
    params = params_of(name)
    schedule = optax.cosine_decay_schedule(0.1, 4)
    found = train(decayed_adam(schedule, Decays(), layout_of(params, SHAPE)), params)
    jax.tree.map(np.testing.assert_array_equal, found, train(optax.adam(schedule), params))


def test_with_equal_decays_of_weights_and_biases_it_is_adamw():
    """Every tensor of a classifier without norm decays alike; each decay is times the rate."""
    model = mlp(image_shape=SHAPE, num_classes=3, hidden_sizes=(4,))
    params = model.init(jax.random.key(0))
    schedule = optax.cosine_decay_schedule(0.1, 4)
    decays = Decays(weights=0.3, biases=0.3)
    found = train(decayed_adam(schedule, decays, layout_of(params, SHAPE)), params)
    expected = train(optax.adamw(schedule, weight_decay=0.3), params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, expected)


def test_needs_params_of_its_layout():
    params = {"weight": jnp.ones((16, 2))}
    transform = add_decays(Decays(), {"weight": TensorRole("first", (4, 4, 1), 0.0)})
    with pytest.raises(ValueError, match=r"add_decays needs params: call update\(grads, state"):
        transform.update(params, transform.init(params))
    with pytest.raises(ValueError, match="layout must have the structure of the params"):
        transform.update([params], transform.init([params]), [params])


def test_the_first_weight_needs_its_spatial_shape():
    params = {"weight": jnp.ones((16, 2))}
    transform = add_decays(Decays(), {"weight": TensorRole("first", (), 0.0)})
    with pytest.raises(ValueError, match=r"first weight its \(height, width, channels\), got \(\)"):
        transform.update(params, transform.init(params), params)
