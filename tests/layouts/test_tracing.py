"""What a forward pass says of tensors that it uses within loops, branches and resizes."""

import jax
import jax.numpy as jnp
import pytest

from noiseproof.layouts.layout import layout_of

IMAGE_SHAPE = (4, 4, 1)


def flat(images):
    return images.reshape(len(images), -1)


def recurrent(params, images):
    """Rows of pixels one after the other, and the mean of what follows each."""

    def step(state, row):
        state = jnp.tanh(row @ params["a"] + state @ params["b"])
        return state, state

    rows = jnp.moveaxis(images[..., 0], 1, 0)
    return jax.lax.scan(step, jnp.zeros((len(images), 5)), rows)[1].mean(0) @ params["c"]


def until_small(params, images):
    def halve(state):
        return state @ params["b"] / 2

    start = flat(images) @ params["a"]
    return jax.lax.while_loop(lambda state: state.max() > 1, halve, start) @ params["c"]


def resized(params, images):
    features = images @ params["a"]
    features = jax.image.resize(features, (len(images), 8, 8, 5), "linear") + params["table"]
    return (features + params["bias"]).mean((1, 2)) @ params["c"]


WAYS = {
    "cond": lambda p, x: (
        jax.lax.cond(x.sum() > 0, lambda h: h @ p["b"], lambda h: h, flat(x) @ p["a"]) @ p["c"]
    ),
    "while": until_small,
    "stacked results of a scan": recurrent,
    "resized features": resized,
    "a sum of products": lambda p, x: flat(x) @ (p["a"] + p["left"] @ p["right"]) @ p["c"],
    "two readouts side by side": lambda p, x: jnp.concatenate(
        [flat(x) @ p["a"] @ p["c"], flat(x) @ p["a"] @ p["d"]], -1
    ),
    "a readout of every unit": lambda p, x: jnp.einsum(
        "bhi,hi->bh", (flat(x) @ p["a"]).reshape(-1, 1, 5).repeat(2, 1), p["e"]
    ),
}
SHAPES = {"b": (5, 5), "c": (5, 2), "d": (5, 1), "e": (2, 5), "left": (16, 2), "right": (2, 5)}
SHAPES |= {"table": (8, 8, 5), "bias": (5,)}
USED = {
    "cond": ("b hidden", "c readout"),
    "while": ("b hidden", "c readout"),
    "stacked results of a scan": ("b hidden", "c readout"),
    "resized features": ("table position", "bias bias", "c readout"),
    "a sum of products": ("left unknown", "right unknown", "c readout"),
    "two readouts side by side": ("c readout", "d readout"),
    "a readout of every unit": ("e readout",),
}


@pytest.mark.filterwarnings("ignore:.*is taken for a gain, since apply lays it out:UserWarning")
@pytest.mark.parametrize("way", WAYS)
def test_a_forward_pass_may_loop_branch_and_resize(way):
    """Catches tensors that are lost in what an operation runs, and a second readout taken for a
    hidden weight."""
    kinds = dict(word.split() for word in USED[way])
    first = {"stacked results of a scan": (4, 5), "resized features": (1, 5)}.get(way, (16, 5))
    params = {"a": jnp.zeros(first)} | {name: jnp.zeros(SHAPES[name]) for name in kinds}
    layout = layout_of(params, IMAGE_SHAPE, apply=WAYS[way])
    assert {name: role.kind for name, role in layout.items()} == {"a": "first", **kinds}
