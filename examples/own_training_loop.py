"""Train your own classifier with a learned optimizer, in your own optax loop.

    python examples/own_training_loop.py runs/demo

The folder is one that `make demo` or `noiseproof run` left behind; a name that `noiseproof list
zoo` shows does as well. The demo's optimizer grew up on these very digits, so that this shows how
it is used, not how far it carries.
"""

import jax
import jax.numpy as jnp
import optax
import typer
from jaxtyping import Array, Float, PRNGKeyArray
from sklearn.datasets import load_digits

import noiseproof
from noiseproof.types import Params

NUM_TEST, BATCH_SIZE, NOISE_STD = 397, 32, 0.5


def init(key: PRNGKeyArray) -> Params:
    """The weights of a 64-32-10 perceptron; any pytree of arrays will do."""
    first, second = jax.random.split(key)
    return [
        {"weight": jax.random.normal(first, (64, 32)) / 6, "bias": jnp.zeros(32)},
        {"weight": jax.random.normal(second, (32, 10)) / 4, "bias": jnp.zeros(10)},
    ]


def classify(params: Params, images: Float[Array, "batch 8 8 1"]) -> Float[Array, "batch 10"]:
    """Logits of a batch of images."""
    hidden, readout = params
    features = jax.nn.relu(images.reshape(-1, 64) @ hidden["weight"] + hidden["bias"])
    return features @ readout["weight"] + readout["bias"]


def main(folder: str = typer.Argument("runs/demo"), num_steps: int = 1000, seed: int = 0) -> None:
    """Train on clean digits with the optimizer in FOLDER; test clean and under noise."""
    order_key, init_key, run_key, noise_key = jax.random.split(jax.random.key(seed), 4)
    pixels, labels = load_digits(return_X_y=True)  # grey levels 0 to 16
    order = jax.random.permutation(order_key, len(labels))
    images = jnp.asarray(pixels)[order].reshape(-1, 8, 8, 1) / 16
    labels = jnp.asarray(labels)[order]
    # Learned optimizers are meta-trained on standardized images, and so is this classifier.
    mean, std = images[NUM_TEST:].mean(), images[NUM_TEST:].std()

    # A learned optimizer asks for two things more than optax does: how long the run will be, and
    # where each tensor sits in the classifier, which is read off the params.
    params = init(init_key)
    layout = noiseproof.layout_of(params, image_shape=(8, 8, 1))
    optimizer = noiseproof.load(folder, num_steps=num_steps, layout=layout)
    state = optimizer.init(params)

    def loss(params, images, labels):
        logits = classify(params, (images - mean) / std)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @jax.jit
    def step(params, state, images, labels, key):
        chosen = jax.random.randint(key, (BATCH_SIZE,), NUM_TEST, len(labels))
        grads = jax.grad(loss)(params, images[chosen], labels[chosen])
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    for key in jax.random.split(run_key, num_steps):
        params, state = step(params, state, images, labels, key)

    clean = images[:NUM_TEST]
    noisy = clean + NOISE_STD * jax.random.normal(noise_key, clean.shape)
    for name, tested in (("clean", clean), (f"noise {NOISE_STD}", noisy)):
        logits = classify(params, (tested - mean) / std)
        accuracy = (logits.argmax(axis=1) == labels[:NUM_TEST]).mean()
        print(f"{name:10s} {accuracy:.3f}  (one classifier, {NUM_TEST} test images)")


if __name__ == "__main__":
    typer.run(main)
