"""What rounding the factors of a classifier's products to TF32 or bfloat16 changes: very little.

Graphics cards multiply matrices faster when the factors keep 10 bits behind the point (TF32, which
is what JAX takes there by default) or 7 (bfloat16) of float32's 23. Here that rounding is done on
any machine, forward and backward, sums staying float32. The shipped optimizer of
`gaussian-digits-mlp` and Adam train 64-32-10 classifiers under the same seeds with each rounding,
and are judged by their loss on images with noise, averaged over the last tenth of the run: the mean
of the paired differences from float32 and its standard error, beside the spread over seeds. And the
meta-gradient of PES with each rounding, by its cosine with that of float32 and, what noise alone
gives, by that of another key.

    python benchmarks/rounded_products.py --json results/benchmarks/rounded_products.json
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from noiseproof import inner_loop
from noiseproof.data import load_dataset
from noiseproof.inner_loop import Window
from noiseproof.layouts.layout import layout_of
from noiseproof.metatrain import Objective, pes, recipe_of
from noiseproof.models import mlp
from noiseproof.tasks.image_classification import TaskData, image_classification
from noiseproof.tasks.mixtures import Component
from noiseproof.tasks.outer_losses import mixture
from noiseproof.types import Model, Params, Recipe, Task
from noiseproof.zoo import load_learned
from windows import report

IMAGE_SHAPE = (8, 8, 1)
MANTISSA_BITS = {"float32": 23, "tf32": 10, "bfloat16": 7}
NOISE_STD = 0.5

LATE = Window(last_share=0.1)
"""What counts of a run: the last tenth."""


def rounded(matrix: jax.Array, bits: int) -> jax.Array:
    """The nearest numbers with so many bits behind the point."""
    return jax.lax.reduce_precision(matrix, exponent_bits=8, mantissa_bits=bits)


def product(bits: int) -> Any:
    """The product of two matrices with rounded factors, as are those of its gradients."""

    def multiply(left: jax.Array, right: jax.Array) -> jax.Array:
        return rounded(left, bits) @ rounded(right, bits)

    def backward(factors: tuple[jax.Array, jax.Array], above: jax.Array) -> Any:
        left, right = factors
        return multiply(above, right.T), multiply(left.T, above)

    differentiable = jax.custom_vjp(multiply)
    differentiable.defvjp(lambda left, right: (multiply(left, right), (left, right)), backward)
    return differentiable


def rounded_mlp(bits: int) -> Model:
    """The classifier of the digits, its products rounded."""
    multiply = product(bits)

    def apply(params: Params, images: jax.Array) -> jax.Array:
        hidden, readout = params
        features = multiply(images.reshape(images.shape[0], -1), hidden["weight"])
        features = jax.nn.relu(features + hidden["bias"])
        return multiply(features, readout["weight"]) + readout["bias"]

    return mlp(image_shape=IMAGE_SHAPE, num_classes=10)._replace(apply=apply)


def noisy(image: jax.Array, key: jax.Array) -> jax.Array:
    return image + NOISE_STD * jax.random.normal(key, image.shape)


def build_task(bits: int) -> Task:
    return image_classification(
        rounded_mlp(bits),
        batch_size=32,
        outer_batch_size=256,
        outer_loss=mixture(Component(1.0, noisy)),
    )


def losses(task: Task, recipe: Recipe, data: TaskData, num_steps: int, num_seeds: int) -> Any:
    """Of runs under the same seeds whatever the task's rounding."""

    @jax.jit
    def runs(data: TaskData, keys: jax.Array) -> jax.Array:
        return jax.vmap(
            lambda key: inner_loop.score(task, recipe, data, num_steps, key, window=LATE)
        )(keys)

    return np.asarray(runs(data, jax.random.split(jax.random.key(1), num_seeds)))


def paired(found: np.ndarray, plain: np.ndarray) -> dict[str, float]:
    """Differences from float32 under the same seeds."""
    difference = found - plain
    return {
        "mean_loss": float(found.mean()),
        "mean_difference": float(difference.mean()),
        "standard_error": float(difference.std(ddof=1) / len(difference) ** 0.5),
        "largest_difference": float(np.abs(difference).max()),
        "std_over_seeds": float(found.std(ddof=1)),
    }


def meta_gradient(objective: Objective, theta: Any, data: TaskData, seed: int) -> np.ndarray:
    """Of the second truncation of eight pairs."""
    estimator = pes(objective, truncation=20, num_pairs=8, std=0.01)

    @jax.jit
    def second(theta: Any, data: TaskData, key: jax.Array) -> Any:
        state = estimator.init(theta, data, key)
        _, state = estimator.estimate(theta, state, data, jax.random.fold_in(key, 1))
        return estimator.estimate(theta, state, data, jax.random.fold_in(key, 2))[0].gradient

    return np.asarray(ravel_pytree(second(theta, data, jax.random.key(seed)))[0])


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def results(bits: int, data: TaskData, num_steps: int, num_seeds: int) -> dict[str, np.ndarray]:
    """Losses of both optimizers, and the meta-gradients of two keys."""
    task, loaded = build_task(bits), load_learned("gaussian-digits-mlp")
    layout = layout_of(jax.eval_shape(task.init, jax.random.key(0)), IMAGE_SHAPE)
    objective = Objective(task, loaded.learned, layout, num_steps=num_steps)
    data = task.refresh(data, jax.random.key(2))
    return {
        "learned": losses(task, recipe_of(objective, loaded.theta), data, num_steps, num_seeds),
        "adam": losses(task, Recipe(optax.adam(1e-3)), data, num_steps, num_seeds),
        "gradient": meta_gradient(objective, loaded.theta, data, 3),
        "other_gradient": meta_gradient(objective, loaded.theta, data, 4),
    }


def beside(found: dict[str, np.ndarray], plain: dict[str, np.ndarray]) -> dict[str, Any]:
    """What one rounding gives beside what float32 gives."""
    return {
        "learned": paired(found["learned"], plain["learned"]),
        "adam": paired(found["adam"], plain["adam"]),
        "cosine_of_meta_gradients": cosine(found["gradient"], plain["gradient"]),
        "cosine_with_another_key": cosine(found["other_gradient"], plain["gradient"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="What rounding factors of products changes.")
    parser.add_argument("--steps", type=int, default=500, help="of a run")
    parser.add_argument("--seeds", type=int, default=64)
    parser.add_argument("--json", type=Path, help="file for the record that is printed")
    options = parser.parse_args()
    splits = load_dataset("digits")
    data = TaskData(*(jax.tree.map(jnp.asarray, part) for part in (splits.train, splits.outer)))
    found = {
        name: results(bits, data, options.steps, options.seeds)
        for name, bits in MANTISSA_BITS.items()
    }
    compared = {name: beside(one, found["float32"]) for name, one in found.items()}
    report({"steps": options.steps, "seeds": options.seeds, **compared}, options.json)


if __name__ == "__main__":
    main()
