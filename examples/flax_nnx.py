"""Train a Flax NNX classifier with batch norm by a shipped optimizer, and by Adam beside it.

    python examples/flax_nnx.py

What is new for a learned optimizer are the two lines marked "new"; all else is a loop as for Adam.
"""

import flax.nnx as nnx
import optax
import typer

import digits
import noiseproof


class Net(nnx.Module):
    """A convolution with batch norm, a residual one, and a readout of the mean features."""

    def __init__(self, rngs):
        self.stem = nnx.Conv(1, 16, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(16, rngs=rngs)
        self.block = nnx.Conv(16, 16, (3, 3), rngs=rngs)
        self.head = nnx.Linear(16, 10, rngs=rngs)

    def __call__(self, images):
        """Logits of a batch of images."""
        features = nnx.relu(self.norm(self.stem(images)))
        features = features + nnx.relu(self.block(features))
        return self.head(features.mean(axis=(1, 2)))


def learned(net, num_steps):
    """The shipped optimizer for this classifier."""
    graph, params, rest = nnx.split(net, nnx.Param, ...)
    layout = noiseproof.layout_of(  # new
        params, (8, 8, 1), apply=lambda p, x: nnx.merge(graph, p, rest, copy=True)(x)
    )
    epoch = digits.STEPS_PER_EPOCH
    return noiseproof.load(  # new
        "universal", num_steps=num_steps, layout=layout, steps_per_epoch=epoch
    )


@nnx.jit
def step(net, optimizer, images, labels):
    """One step on a batch."""

    def loss(net):
        return optax.softmax_cross_entropy_with_integer_labels(net(images), labels).mean()

    optimizer.update(net, nnx.grad(loss)(net))


def main(num_steps: int = 500, seed: int = 0) -> None:
    """Train on clean digits with both optimizers; test clean and under noise."""
    data = digits.load(num_steps, seed)
    for name in ("learned", "adam"):
        net = Net(nnx.Rngs(seed))
        transform = learned(net, num_steps) if name == "learned" else optax.adam(3e-3)
        optimizer = nnx.Optimizer(net, transform, wrt=nnx.Param)
        for batch in data.batches:
            step(net, optimizer, data.images[batch], data.labels[batch])
        net.eval()
        logits = {test: net(shown) for test, shown in data.tests.items()}
        digits.report(name, data, logits)


if __name__ == "__main__":
    typer.run(main)
