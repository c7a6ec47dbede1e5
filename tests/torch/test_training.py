"""A residual net that is trained in PyTorch ends where the one that is trained in JAX does."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

torch = pytest.importorskip("torch", reason="the extra [torch] is not installed")

import noiseproof  # noqa: E402
from noiseproof.models import resnet  # noqa: E402
from noiseproof.torch import LearnedOptimizer  # noqa: E402

nn = torch.nn
NAME, NUM_STEPS, NUM_TEST, NUM_SEEDS = "spectral-fashion-convnet", 150, 600, 2


class Block(nn.Module):
    def __init__(self, fan_in, fan_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(fan_in, fan_out, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(fan_out, fan_out, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(fan_out), nn.BatchNorm2d(fan_out)
        around = nn.Conv2d(fan_in, fan_out, 1, stride, bias=False), nn.BatchNorm2d(fan_out)
        self.around = nn.Sequential(*around) if fan_in != fan_out else nn.Identity()

    def forward(self, x):
        inside = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(inside + self.around(x))


def residual_net():
    stem = nn.Conv2d(1, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
    blocks = Block(8, 8, 1), Block(8, 16, 2), Block(16, 32, 2)
    net = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
    with torch.no_grad():
        for param in net.parameters():
            if param.ndim > 1:
                nn.init.normal_(param, std=(2 / param[0].numel()) ** 0.5)
        net[-1].weight.mul_(0.5**0.5)
        net[-1].bias.zero_()
    return net


def torch_accuracy(images, labels, batches, train, test, seed):
    torch.manual_seed(seed)
    net, images, labels = residual_net(), torch.tensor(images)[:, None], torch.tensor(labels)
    optimizer = LearnedOptimizer(net, NAME, num_steps=NUM_STEPS)
    for batch in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images[batch]), labels[batch]).backward()
        optimizer.step()
    for module in net.modules():  # as in JAX, statistics are those of the training images
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        net(images[train])
        return (net.eval()(images[test]).argmax(dim=1) == labels[test]).float().mean().item()


def jax_accuracy(images, labels, batches, train, test):
    model = resnet(image_shape=(8, 8, 1), num_classes=10, width=8, norm="batch", patches=False)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    layout = noiseproof.layout_of(shapes, (8, 8, 1), apply=model.apply_train)
    optimizer = noiseproof.load(NAME, num_steps=NUM_STEPS, layout=layout)
    images = jnp.array(images)[..., None]

    @jax.jit
    def run(key, batches, images, labels):
        def loss(params, batch):
            logits = model.apply_train(params, images[batch])
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels[batch]).mean()

        def one_step(carry, batch):
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params, batch), state, params)
            return (optax.apply_updates(params, updates), state), None

        params = model.init(key)
        (params, _), _ = jax.lax.scan(one_step, (params, optimizer.init(params)), batches)
        params = model.calibrate(params, images[train])
        return (model.apply(params, images[test]).argmax(axis=1) == labels[test]).mean()

    return [
        float(run(jax.random.key(seed), jnp.array(own), images, jnp.array(labels)))
        for seed, own in enumerate(batches)
    ]


@pytest.mark.slow  # a minute of training
@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.filterwarnings("ignore:.*was meta-trained with")
def test_a_residual_net_ends_as_in_jax():
    """Catches a step that agrees on random gradients and goes wrong in a training run."""
    pixels, labels = load_digits(return_X_y=True)
    pixels = ((pixels - pixels.mean()) / pixels.std()).astype(np.float32).reshape(-1, 8, 8)
    order = np.random.default_rng(0).permutation(len(labels))
    test, train = order[:NUM_TEST], order[NUM_TEST:]
    draw = functools.partial(np.random.default_rng(1).choice, train)
    batches = [draw((NUM_STEPS, 64)) for _ in range(NUM_SEEDS)]
    theirs = jax_accuracy(pixels, labels, batches, train, test)
    ours = [
        torch_accuracy(pixels, labels, own, train, test, seed) for seed, own in enumerate(batches)
    ]
    mean = (np.mean(ours) + np.mean(theirs)) / 2
    assert mean > 0.9
    # A difference of two accuracies has a standard error of √(2 p (1 - p) / images).
    error = (2 * mean * (1 - mean) / (NUM_TEST * NUM_SEEDS)) ** 0.5
    assert abs(np.mean(ours) - np.mean(theirs)) < 4 * error
