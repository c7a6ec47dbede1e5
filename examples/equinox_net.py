"""Train an Equinox classifier by a shipped optimizer, and by Adam beside it.

    python examples/equinox_net.py

What is new for a learned optimizer are the two lines marked "new"; all else is a loop as for Adam.
"""

import equinox as eqx
import jax
import optax
import typer

import digits
import noiseproof


class Net(eqx.Module):
    """A convolution with a norm, a residual one, and a readout of the mean features."""

    stem: eqx.nn.Conv2d
    norm: eqx.nn.GroupNorm
    block: eqx.nn.Conv2d
    head: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        self.stem = eqx.nn.Conv2d(1, 16, 3, padding=1, key=keys[0])
        self.norm = eqx.nn.GroupNorm(4, 16)
        self.block = eqx.nn.Conv2d(16, 16, 3, padding=1, key=keys[1])
        self.head = eqx.nn.Linear(16, 10, key=keys[2])

    def __call__(self, image):
        """Logits of one image."""
        features = jax.nn.relu(self.norm(self.stem(image)))
        features = features + jax.nn.relu(self.block(features))
        return self.head(features.mean(axis=(1, 2)))


def logits_of(net, images):
    """Logits of images whose channels come last; Equinox takes one image, channels first."""
    return jax.vmap(net)(images.transpose(0, 3, 1, 2))


def learned(net, num_steps):
    """The shipped optimizer for this classifier."""
    params, static = eqx.partition(net, eqx.is_inexact_array)
    layout = noiseproof.layout_of(  # new
        params, (8, 8, 1), apply=lambda p, x: logits_of(eqx.combine(p, static), x)
    )
    epoch = digits.STEPS_PER_EPOCH
    return noiseproof.load(  # new
        "universal", num_steps=num_steps, layout=layout, steps_per_epoch=epoch
    )


def main(num_steps: int = 500, seed: int = 0) -> None:
    """Train on clean digits with both optimizers; test clean and under noise."""
    data = digits.load(num_steps, seed)
    for name in ("learned", "adam"):
        net = Net(jax.random.key(seed))
        transform = learned(net, num_steps) if name == "learned" else optax.adam(3e-3)
        state = transform.init(eqx.filter(net, eqx.is_inexact_array))

        @eqx.filter_jit
        def step(net, state, images, labels, transform=transform):
            def loss(net):
                logits = logits_of(net, images)
                return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

            params = eqx.filter(net, eqx.is_inexact_array)
            updates, state = transform.update(eqx.filter_grad(loss)(net), state, params)
            return eqx.apply_updates(net, updates), state

        for batch in data.batches:
            net, state = step(net, state, data.images[batch], data.labels[batch])
        logits = {test: logits_of(net, shown) for test, shown in data.tests.items()}
        digits.report(name, data, logits)


if __name__ == "__main__":
    typer.run(main)
