import jax
import jax.numpy as jnp
import numpy as np

from noiseproof.tasks.flips_and_crops import flips_and_crops

HEIGHT, WIDTH = 16, 8
PADS = 2, 1


def test_images_are_mirrored_and_moved_within_black() -> None:
    """Catches an axis that is mistaken, pads of the other side, and places that are never drawn."""
    image = jax.random.uniform(jax.random.key(0), (HEIGHT, WIDTH, 3), minval=0.1)
    keys = jax.random.split(jax.random.key(1), 600)
    found = np.asarray(jax.jit(jax.vmap(flips_and_crops, (None, 0)))(image, keys))
    padded = [
        np.pad(one, ((PADS[0],) * 2, (PADS[1],) * 2, (0, 0)))
        for one in (np.asarray(image), np.asarray(image)[:, ::-1])
    ]
    allowed = {
        np.ascontiguousarray(one[top : top + HEIGHT, left : left + WIDTH]).tobytes(): (
            flip,
            top,
            left,
        )
        for flip, one in enumerate(padded)
        for top in range(2 * PADS[0] + 1)
        for left in range(2 * PADS[1] + 1)
    }
    drawn = [allowed[one.tobytes()] for one in found]
    # 30 places, 20 draws of each: none is missed but by a chance of 30 exp(-20).
    assert set(drawn) == set(allowed.values())
    assert 0.4 < np.mean([flip for flip, *_ in drawn]) < 0.6


def test_small_images_are_moved_by_a_pixel() -> None:
    """Catches a pad of nothing, below which no image would move."""
    keys = jax.random.split(jax.random.key(2), 100)
    found = jax.vmap(flips_and_crops, (None, 0))(jnp.ones((3, 3, 1)), keys)
    assert float(found.sum(axis=(1, 2, 3)).min()) == 4.0
