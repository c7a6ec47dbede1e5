"""Train a Flax Linen classifier in a TrainState by a shipped optimizer, and by Adam beside it.

    python examples/flax_linen.py

What is new for a learned optimizer are the two lines marked "new"; all else is a loop as for Adam.
"""

import flax.linen as nn
import jax
import optax
import typer
from flax.training.train_state import TrainState

import digits
import noiseproof


class Net(nn.Module):
    """A convolution with a norm, a residual one, and a readout of the mean features."""

    @nn.compact
    def __call__(self, images):
        """Logits of a batch of images."""
        features = nn.relu(nn.GroupNorm(4)(nn.Conv(16, (3, 3))(images)))
        features = features + nn.relu(nn.Conv(16, (3, 3))(features))
        return nn.Dense(10)(features.mean(axis=(1, 2)))


def learned(net, params, num_steps):
    """The shipped optimizer for this classifier."""
    layout = noiseproof.layout_of(  # new
        params, (8, 8, 1), apply=lambda p, x: net.apply({"params": p}, x)
    )
    epoch = digits.STEPS_PER_EPOCH
    return noiseproof.load(  # new
        "universal", num_steps=num_steps, layout=layout, steps_per_epoch=epoch
    )


@jax.jit
def step(state, images, labels):
    """One step on a batch."""

    def loss(params):
        logits = state.apply_fn({"params": params}, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    return state.apply_gradients(grads=jax.grad(loss)(state.params))


def main(num_steps: int = 500, seed: int = 0) -> None:
    """Train on clean digits with both optimizers; test clean and under noise."""
    data = digits.load(num_steps, seed)
    net = Net()
    params = net.init(jax.random.key(seed), data.images[:1])["params"]
    for name in ("learned", "adam"):
        transform = learned(net, params, num_steps) if name == "learned" else optax.adam(3e-3)
        state = TrainState.create(apply_fn=net.apply, params=params, tx=transform)
        for batch in data.batches:
            state = step(state, data.images[batch], data.labels[batch])
        logits = {
            test: net.apply({"params": state.params}, shown) for test, shown in data.tests.items()
        }
        digits.report(name, data, logits)


if __name__ == "__main__":
    typer.run(main)
