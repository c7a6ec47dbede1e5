"""Takes a step of a shipped optimizer on two devices; a program, since JAX counts devices once.

    python sharded_step.py OUT.json

Says for each way of sharding how far its updates are from those of one device, relative to their
largest entry, and whether the types of its state are the same before and after.
"""

import json
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import noiseproof
from noiseproof.models import mlp

IMAGE_SHAPE = (4, 4, 1)


def main(out: str) -> None:
    warnings.simplefilter("ignore")
    model = mlp(image_shape=IMAGE_SHAPE, num_classes=4, hidden_sizes=(4,))
    params = model.init(jax.random.key(0))
    layout = noiseproof.layout_of(params, IMAGE_SHAPE)
    optimizer = noiseproof.load("spectral-fashion-convnet", num_steps=1000, layout=layout)
    grads = jax.tree.map(
        lambda leaf: jnp.cos(jnp.arange(leaf.size, dtype=jnp.float32)).reshape(leaf.shape), params
    )
    step = jax.jit(optimizer.update)
    wanted, _ = step(grads, optimizer.init(params), params)
    auto, explicit = (
        jax.make_mesh((2,), ("x",), axis_types=(kind,))
        for kind in (AxisType.Auto, AxisType.Explicit)
    )
    found = {}

    def say(name: str, updates: list, before: object, after: object) -> None:
        pairs = zip(jax.tree.leaves(updates), jax.tree.leaves(wanted), strict=True)
        gaps = [float(abs(jax.device_get(a) - b).max() / abs(b).max()) for a, b in pairs]
        types = jax.tree.map(jax.typeof, before) == jax.tree.map(jax.typeof, after)
        found[name] = {"gap": max(gaps), "same_types": bool(types)}

    def of_parts(params: list, parts: list, state: object) -> tuple:
        mean = jax.tree.map(lambda part: jax.lax.pmean(part[0], "x"), parts)
        return optimizer.update(mean, state, params)

    whole, split = PartitionSpec(), PartitionSpec("x")
    state = optimizer.init(params)
    parallel = jax.shard_map(of_parts, mesh=auto, in_specs=(whole, split, whole), out_specs=whole)
    parts = jax.tree.map(lambda leaf: jnp.stack([1.5 * leaf, 0.5 * leaf]), grads)
    say("shard_map", *spread(jax.jit(parallel)(params, parts, state), state))
    for mesh, name in ((auto, "automatic"), (explicit, "explicit")):
        with jax.set_mesh(mesh):
            placed, there = (
                jax.tree.map(lambda leaf, mesh=mesh: put(leaf, mesh), tree)
                for tree in (params, grads)
            )
            state = optimizer.init(placed)
            updates, after = step(there, state, placed)
            say(name, updates, state, after)
            found[name]["as_params"] = all(
                update.sharding.spec == leaf.sharding.spec
                for update, leaf in zip(
                    jax.tree.leaves(updates), jax.tree.leaves(placed), strict=True
                )
            )
    Path(out).write_text(json.dumps(found))


def spread(stepped: tuple, state: object) -> tuple:
    """Updates, the state before and the state after."""
    updates, after = stepped
    return updates, state, after


def put(leaf: jax.Array, mesh: jax.sharding.Mesh) -> jax.Array:
    """A tensor whose last axis is split over the devices."""
    last = PartitionSpec(*[None] * (leaf.ndim - 1), "x")
    return jax.device_put(leaf, NamedSharding(mesh, last))


if __name__ == "__main__":
    main(*sys.argv[1:])
