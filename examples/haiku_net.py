"""Train a Haiku classifier by a shipped optimizer, and by Adam beside it.

    python examples/haiku_net.py

What is new for a learned optimizer are the two lines marked "new"; all else is a loop as for Adam.
"""

import haiku as hk
import jax
import optax
import typer

import digits
import noiseproof


def classify(images):
    """A convolution with a norm, a residual one, and a readout of the mean features."""
    features = jax.nn.relu(hk.GroupNorm(4)(hk.Conv2D(16, 3)(images)))
    features = features + jax.nn.relu(hk.Conv2D(16, 3)(features))
    return hk.Linear(10)(features.mean(axis=(1, 2)))


NET = hk.without_apply_rng(hk.transform(classify))


def learned(params, num_steps):
    """The shipped optimizer for this classifier."""
    layout = noiseproof.layout_of(params, (8, 8, 1), apply=NET.apply)  # new
    epoch = digits.STEPS_PER_EPOCH
    return noiseproof.load(  # new
        "universal", num_steps=num_steps, layout=layout, steps_per_epoch=epoch
    )


def main(num_steps: int = 500, seed: int = 0) -> None:
    """Train on clean digits with both optimizers; test clean and under noise."""
    data = digits.load(num_steps, seed)
    start = NET.init(jax.random.key(seed), data.images[:1])
    for name in ("learned", "adam"):
        transform = learned(start, num_steps) if name == "learned" else optax.adam(3e-3)
        params, state = start, transform.init(start)

        @jax.jit
        def step(params, state, images, labels, transform=transform):
            def loss(params):
                logits = NET.apply(params, images)
                return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

            updates, state = transform.update(jax.grad(loss)(params), state, params)
            return optax.apply_updates(params, updates), state

        for batch in data.batches:
            params, state = step(params, state, data.images[batch], data.labels[batch])
        logits = {test: NET.apply(params, shown) for test, shown in data.tests.items()}
        digits.report(name, data, logits)


if __name__ == "__main__":
    typer.run(main)
