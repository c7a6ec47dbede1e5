import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof.models import mlp
from noiseproof.tasks.image_classification import cross_entropy
from noiseproof.tasks.regularization import regularized_cross_entropy
from noiseproof.types import Batch, Model, Regularization

KEY = jax.random.key(0)
LOGITS = jnp.array([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]])
BATCH = Batch(LOGITS[:, None, None, :], jnp.array([0, 2]))
"""Images that are their own logits."""
READER = Model(lambda _key: (), lambda _params, images: images[:, 0, 0, :])


def loss_of(regularization, model=READER, params=(), batch=BATCH, key=KEY):
    return float(regularized_cross_entropy(model, params, batch, regularization, key))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 1.0])
def test_smoothed_labels_are_those_of_optax(share):
    labels = optax.losses.smooth_labels(jax.nn.one_hot(BATCH.labels, 3), share)
    expected = optax.losses.softmax_cross_entropy(LOGITS, labels).mean()
    assert loss_of(Regularization(label_smoothing=share)) == pytest.approx(float(expected))


def test_without_regularization_it_is_the_cross_entropy():
    expected = float(cross_entropy(READER, (), BATCH))
    assert loss_of(Regularization()) == pytest.approx(expected)


def test_dropout_and_smoothing_act_together():
    model = mlp(image_shape=(8, 8, 1), num_classes=3, hidden_sizes=(16,))
    params = model.init(KEY)
    images = jnp.asarray(np.random.default_rng(0).random((64, 8, 8, 1)), jnp.float32)
    batch = Batch(images, jnp.arange(64) % 3)
    logits = model.apply_dropout(params, images, 0.5, KEY)
    labels = optax.losses.smooth_labels(jax.nn.one_hot(batch.labels, 3), 0.2)
    expected = float(optax.losses.softmax_cross_entropy(logits, labels).mean())
    found = loss_of(Regularization(0.2, 0.5), model, params, batch)
    assert found == pytest.approx(expected, rel=1e-5)
    assert loss_of(Regularization(0.2), model, params, batch) != pytest.approx(expected, rel=1e-3)
    other = loss_of(Regularization(0.2, 0.5), model, params, batch, jax.random.key(1))
    assert other != pytest.approx(expected, rel=1e-3)


def test_dropout_needs_a_classifier_that_can():
    with pytest.raises(ValueError, match="Dropout needs a classifier with apply_dropout"):
        loss_of(Regularization(dropout=0.1))
