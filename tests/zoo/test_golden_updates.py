"""What every shipped optimizer does to small classifiers, against numbers kept beside this file.

A rule may be rewritten; what has been published under a name must go on doing what it did.
"""

import functools
import json
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import noiseproof
from noiseproof.models import convnet, mlp
from noiseproof.zoo import load_learned, shipped_names

GOLDEN = Path(__file__).with_name("golden_updates.json")
IMAGE_SHAPE = (4, 5, 2)
NUM_STEPS = 3
NUM_UPDATES = 4
"""One at the end of the run, where the schedule has its smallest value."""

MODELS = (
    mlp(image_shape=IMAGE_SHAPE, num_classes=3, hidden_sizes=(4, 6), norm="layer"),
    convnet(image_shape=IMAGE_SHAPE, num_classes=3, channels=(2, 3), norm="layer"),
)
SHAPES = tuple(jax.eval_shape(model.init, jax.random.key(0)) for model in MODELS)
LAYOUT = tuple(noiseproof.layout_of(shapes, IMAGE_SHAPE) for shapes in SHAPES)


def drawn(seed: int, *leading: int) -> tuple:
    """Normal numbers in the shapes of both classifiers; RandomState's stream is frozen."""
    rng = np.random.RandomState(seed)
    return jax.tree.map(lambda leaf: np.float32(rng.randn(*leading, *leaf.shape)), SHAPES)


@functools.cache
def movement_under(rule: str, options: str):
    """`(theta, params, gradients) -> sum of all updates`; one program for all thetas of a rule."""
    learned = noiseproof.optimizers.LEARNED_OPTIMIZERS[rule](**json.loads(options))

    # Compiling takes most of the time, and half of it is spent on speed that is not needed.
    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def movement(theta, params, gradients):
        optimizer = learned.optimizer(theta, NUM_STEPS, LAYOUT)

        def one_step(carry, grads):
            params, state = carry
            updates, state = optimizer.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), updates

        _, updates = jax.lax.scan(one_step, (params, optimizer.init(params)), gradients)
        return jax.tree.map(lambda leaf: leaf.sum(axis=0), updates)

    return movement


def test_shipped_optimizers_do_what_they_did() -> None:
    """Catches a change of a rule that shipped weights would not survive.

    A number is the movement of one tensor over a short run, along a fixed random direction. After
    a change that is meant, or with a newly shipped optimizer, delete `golden_updates.json`, run
    this test, which then writes it anew and fails, and read the difference before committing it.
    """
    params, gradients, probes = drawn(0), drawn(1, NUM_UPDATES), drawn(2)
    found, sizes = {}, {}
    for name in shipped_names():
        _, theta, card = load_learned(name)
        movement = movement_under(card["rule"], json.dumps(card["options"]))
        moved = map(np.float64, jax.tree.leaves(movement(theta, params, gradients)))
        pairs = list(zip(moved, jax.tree.leaves(probes), strict=True))
        found[name] = [round(float((move * probe).sum()), 9) for move, probe in pairs]
        sizes[name] = [np.linalg.norm(move) * np.linalg.norm(probe) for move, probe in pairs]
    if not GOLDEN.exists():
        lines = (f'  "{name}": {json.dumps(numbers)}' for name, numbers in found.items())
        GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
        pytest.fail(f"{GOLDEN.name} was missing and is written anew; read its difference.")
    golden = json.loads(GOLDEN.read_text("utf-8"))
    assert list(golden) == list(found)
    for name, numbers in found.items():
        # Single precision, amplified by the orthogonalization: see the twin of `structured`.
        error = np.abs(np.subtract(numbers, golden[name])) / sizes[name]
        assert error.max() < 1e-4, f"{name}: {error}"
