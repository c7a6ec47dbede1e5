import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.models import mlp


def test_is_the_formula_of_a_perceptron():
    model = mlp(image_shape=(2, 3, 1), num_classes=3, hidden_sizes=(4,))
    first, readout = model.init(jax.random.key(0))
    first["bias"] = jnp.arange(4.0) / 10
    readout["bias"] = jnp.arange(3.0)
    images = jnp.linspace(0, 1, 30).reshape(5, 2, 3, 1) ** 2
    hidden = np.maximum(np.asarray(images).reshape(5, 6) @ first["weight"] + first["bias"], 0)
    expected = hidden @ np.asarray(readout["weight"]) + readout["bias"]
    np.testing.assert_allclose(model.apply([first, readout], images), expected, rtol=1e-5)


def test_many_layers_stay_in_order():
    """Catches a container that sorts layer 10 before layer 2."""
    sizes = tuple(range(2, 14))
    model = mlp(image_shape=(1, 1, 1), num_classes=2, hidden_sizes=sizes)
    params = jax.eval_shape(model.init, jax.random.key(0))
    fan_ins = [leaf.shape[0] for leaf in jax.tree.leaves(params) if leaf.ndim == 2]
    assert fan_ins == [1, *sizes]


def test_no_hidden_layer_is_a_linear_classifier():
    model = mlp(image_shape=(2, 2, 1), num_classes=3, hidden_sizes=())
    params = jax.eval_shape(model.init, jax.random.key(0))
    assert [layer["weight"].shape for layer in params] == [(4, 3)]


def test_rejects_bad_hidden_sizes():
    with pytest.raises(ValueError, match=r"hidden_sizes must be positive, got \(8, 0\)"):
        mlp(image_shape=(2, 2, 1), num_classes=3, hidden_sizes=(8, 0))
    with pytest.raises(ValueError, match=r"hidden_sizes must be multiples of 4 for norm 'group'"):
        mlp(image_shape=(2, 2, 1), num_classes=3, hidden_sizes=(8, 6), norm="group")
