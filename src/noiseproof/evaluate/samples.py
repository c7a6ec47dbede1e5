"""A few corrupted test images, and what classifiers of the first seed took them for."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from noiseproof.evaluate.suites import TestSet
from noiseproof.results import Samples
from noiseproof.tasks.image_classification import to_float
from noiseproof.types import Model, Params

NUM_IMAGES, SEVERITY = 3, 3

MOST_BYTES = 180_000
"""Of all samples before they are packed, which leaves less than 150 kB; fewer images where more."""


def places(test_sets: Sequence[TestSet]) -> tuple[list[int], Int[np.ndarray, " images"]]:
    """Which conditions and which test images are kept: the first ones of different classes."""
    shown = [
        place
        for place, one in enumerate(test_sets)
        if one.severity in (None, SEVERITY) and one.role != "published"
    ]
    clean = test_sets[0].batch
    first = np.unique(np.asarray(clean.labels), return_index=True)[1]
    num_bytes = len(shown) * int(np.prod(clean.images.shape[1:]))
    return shown, first[: min(NUM_IMAGES, MOST_BYTES // max(num_bytes, 1))]


def sampled(test_sets: Sequence[TestSet]) -> Float[Array, "shown images height width channels"]:
    """The images as classifiers see them."""
    shown, images = places(test_sets)
    return jnp.stack([to_float(jnp.asarray(test_sets[at].batch.images[images])) for at in shown])


@partial(jax.jit, static_argnames="model")
def answers(
    model: Model, params: Params, images: Float[Array, "shown images height width channels"]
) -> Int[Array, "shown images"]:
    """The classes that the first of several classifiers takes the images for."""
    first = jax.tree.map(lambda leaf: leaf[0], params)
    return jax.vmap(jax.vmap(lambda image: model.apply(first, image[None])[0].argmax()))(images)


def samples(
    test_sets: Sequence[TestSet], said: Sequence[Int[np.ndarray, "shown images"]]
) -> Samples | None:
    """The samples of a record, by what each optimizer's classifier said; None where none fit."""
    shown, images = places(test_sets)
    if not images.size:
        return None
    pixels = np.rint(255 * np.clip(np.asarray(sampled(test_sets)), 0, 1)).astype(np.uint8)
    labels = np.asarray(test_sets[0].batch.labels)[images].astype(np.int64)
    return Samples(pixels, labels, np.array(shown), np.stack(said))
