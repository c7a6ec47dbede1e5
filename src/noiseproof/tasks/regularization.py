"""Label smoothing and dropout: what a recipe may change in the training loss of a classifier.

Sources: label smoothing, Szegedy et al., arXiv 1512.00567; dropout, Srivastava et al., 2014,
JMLR 15.
"""

import jax
import optax
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from noiseproof.types import Batch, Model, Params, Regularization


def regularized_cross_entropy(
    model: Model, params: Params, batch: Batch, regularization: Regularization, key: PRNGKeyArray
) -> Scalar:
    """Mean cross-entropy of a batch with labels smoothed and hidden units left out, in nats.

    Raises:
        ValueError: The recipe drops units, and the classifier has no forward pass that does.
    """
    logits = _logits(model, params, batch.images, regularization, key)
    losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, batch.labels)
    share = regularization.label_smoothing
    if share is None:
        return losses.mean()
    # Against labels that are even over all classes the cross-entropy is the mean over classes.
    even = -jax.nn.log_softmax(logits).mean(axis=1)
    return ((1.0 - share) * losses + share * even).mean()


def _logits(
    model: Model,
    params: Params,
    images: Float[Array, "batch height width channels"],
    regularization: Regularization,
    key: PRNGKeyArray,
) -> Float[Array, "batch classes"]:
    if regularization.dropout is None:
        return model.apply(params, images)
    if model.apply_dropout is None:
        raise ValueError("Dropout needs a classifier with apply_dropout, got one without.")
    return model.apply_dropout(params, images, regularization.dropout, key)
