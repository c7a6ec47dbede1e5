"""The port against the JAX side: the same roles, and the same steps on the same gradients.

Four classifiers are written twice, their tensors are carried from PyTorch's axes to JAX's, and 50
steps on gradients of changing scale must end at the same weights for every optimizer that ships
and for a random theta of `universal`. Catches a transposed matrix, planes of a filter read over the
wrong axes, channels of a flattened image in the wrong order, and any rate of the wrong kind.
"""

import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

torch = pytest.importorskip("torch", reason="the extra [torch] is not installed")

from noiseproof.checkpoint import save_theta  # noqa: E402
from noiseproof.kinds import NEAREST_KIND  # noqa: E402
from noiseproof.layouts.layout import layout_of, roles  # noqa: E402
from noiseproof.models import convnet, mlp, resnet  # noqa: E402
from noiseproof.optimizers import LEARNED_OPTIMIZERS  # noqa: E402
from noiseproof.torch import LearnedOptimizer, Role  # noqa: E402
from noiseproof.zoo import load_learned, shipped_names  # noqa: E402

nn = torch.nn
IMAGE_SHAPE, NUM_CLASSES = (8, 6, 3), 5
NUM_STEPS, NUM_UPDATES, STEPS_PER_EPOCH = 40, 50, 3
"""The run goes on a little after its end, where all rates stay as they are."""

ATOL = 3e-5

PORTED = [
    name for name in shipped_names() if not load_learned(name).card["options"].get("augments")
]
"""The port has no changes of the first layer."""


class Network(NamedTuple):
    """Attributes: the classifier in PyTorch; `to_jax`, its tensors by name as JAX's tree; the
    forward pass of that."""

    model: Any
    to_jax: Any
    apply: Any


def dense(weight):
    return weight.T


def pixels(weight):
    """A dense layer on an image flattened channels first, as one on channels last."""
    height, width, channels = IMAGE_SHAPE
    planes = weight.reshape(-1, channels, height, width)
    return planes.transpose(2, 3, 1, 0).reshape(-1, planes.shape[0])


def filters(weight):
    return weight.transpose(2, 3, 1, 0)


def perceptron():
    height, width, channels = IMAGE_SHAPE
    sizes = [height * width * channels, 12, 7, NUM_CLASSES]
    layers = [nn.Flatten()]
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]

    def to_jax(t):
        moves = (pixels, dense, dense)
        return [
            {"weight": move(t[f"{at}.weight"]), "bias": t[f"{at}.bias"]}
            for at, move in zip((1, 3, 5), moves, strict=True)
        ]

    twin = mlp(image_shape=IMAGE_SHAPE, num_classes=NUM_CLASSES, hidden_sizes=(12, 7))
    return Network(nn.Sequential(*layers[:-1]), to_jax, twin.apply)


def small_convnet():
    model = nn.Sequential(
        *(nn.Conv2d(3, 4, 3, 2, 1), nn.GroupNorm(1, 4), nn.ReLU()),
        *(nn.Conv2d(4, 6, 3, 2, 1), nn.GroupNorm(1, 6), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(2 * 2 * 6, NUM_CLASSES)),
    )

    def to_jax(t):
        layers = [
            {
                "weight": filters(t[f"{at}.weight"]),
                "gain": t[f"{at + 1}.weight"],
                "bias": t[f"{at + 1}.bias"],
            }
            for at in (0, 3)
        ]
        return [*layers, {"weight": dense(t["7.weight"]), "bias": t["7.bias"]}]

    for at in (0, 3):  # the twin has no bias beside that of its norm
        model[at].bias = None
    twin = convnet(image_shape=IMAGE_SHAPE, num_classes=NUM_CLASSES, channels=(4, 6), norm="layer")
    return Network(model, to_jax, twin.apply)


class Block(nn.Module):
    def __init__(self, fan_in, fan_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(fan_in, fan_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(fan_out)
        self.conv2 = nn.Conv2d(fan_out, fan_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(fan_out)
        self.downsample = None
        if fan_in != fan_out:
            conv = nn.Conv2d(fan_in, fan_out, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(fan_out))

    def forward(self, x):
        inside = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(inside + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4)
        self.blocks = nn.Sequential(Block(4, 4, 1), Block(4, 8, 2), Block(8, 16, 2))
        self.fc = nn.Linear(16, NUM_CLASSES)

    def forward(self, x):
        x = self.blocks(torch.relu(self.bn1(self.conv1(x))))
        return self.fc(x.mean(dim=(2, 3)))


def residual_net():
    def layer(t, conv, norm):
        gain, zeros = t[f"{norm}.weight"], np.zeros_like(t[f"{norm}.bias"])
        known = {"gain": gain, "bias": t[f"{norm}.bias"], "mean": zeros, "variance": zeros}
        return {"weight": filters(t[f"{conv}.weight"]), **known}

    def to_jax(t):
        layers = [layer(t, "conv1", "bn1")]
        for at in range(3):
            own = f"blocks.{at}"
            layers += [layer(t, f"{own}.conv{n}", f"{own}.bn{n}") for n in (1, 2)]
            if at > 0:
                layers.append(layer(t, f"{own}.downsample.0", f"{own}.downsample.1"))
        return [*layers, {"weight": dense(t["fc.weight"]), "bias": t["fc.bias"]}]

    twin = resnet(image_shape=IMAGE_SHAPE, num_classes=NUM_CLASSES, width=4, patches=False)
    return Network(ResNet(), to_jax, twin.apply)


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 2, 2)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 8))
        self.pos_embed = nn.Parameter(torch.zeros(1, 13, 8))
        self.layer = nn.TransformerEncoderLayer(
            8, 2, 16, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.scale = nn.Parameter(torch.ones(8))
        self.head = nn.Linear(8, NUM_CLASSES)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1) + self.pos_embed
        return self.head(self.layer(x)[:, 0] * self.scale)


def transformer_apply(p, images):
    def norm(own, x):
        return own["scale"] * jax.nn.standardize(x, axis=-1) + own["bias"]

    def linear(own, x):
        return x @ own["kernel"] + own["bias"]

    x = jax.lax.conv_general_dilated(
        images, p["patches"]["kernel"], (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    x = (x + p["patches"]["bias"]).reshape(x.shape[0], -1, 8)
    x = jnp.concatenate([jnp.tile(p["cls_token"], (x.shape[0], 1, 1)), x], axis=1)
    x = x + p["pos_embed"]
    y = norm(p["norm1"], x)
    q, k, v = (linear(p[name], y).reshape(*y.shape[:2], 2, 4) for name in "qkv")
    y = jax.nn.dot_product_attention(q, k, v).reshape(x.shape)
    x = x + linear(p["out"], y)
    x = x + linear(p["linear2"], jax.nn.gelu(linear(p["linear1"], norm(p["norm2"], x))))
    return linear(p["head"], x[:, 0] * p["scale"])


def transformer():
    def to_jax(t):
        def linear(name):
            return {"kernel": dense(t[f"{name}.weight"]), "bias": t[f"{name}.bias"]}

        def norm(name):
            return {"scale": t[f"{name}.weight"], "bias": t[f"{name}.bias"]}

        projections = zip(
            np.split(t["layer.self_attn.in_proj_weight"], 3),
            np.split(t["layer.self_attn.in_proj_bias"], 3),
            strict=True,
        )
        heads = [{"kernel": dense(weight), "bias": bias} for weight, bias in projections]
        return {
            "patches": {"kernel": filters(t["patches.weight"]), "bias": t["patches.bias"]},
            **{name: t[name] for name in ("cls_token", "pos_embed", "scale")},
            **{name: norm(f"layer.{name}") for name in ("norm1", "norm2")},
            **dict(zip("qkv", heads, strict=True)),
            "out": linear("layer.self_attn.out_proj"),
            **{name: linear(f"layer.{name}") for name in ("linear1", "linear2")},
            "head": linear("head"),
        }

    return Network(Transformer(), to_jax, transformer_apply)


NETWORKS = {
    "perceptron": perceptron,
    "convnet": small_convnet,
    "residual net": residual_net,
    "transformer": transformer,
}


@pytest.fixture(scope="module", params=NETWORKS, ids=str)
def network(request):
    torch.manual_seed(0)
    return NETWORKS[request.param]()


@pytest.fixture(scope="module")
def layout(network):
    params = network.to_jax({n: p.detach().numpy() for n, p in network.model.named_parameters()})
    return layout_of(params, IMAGE_SHAPE, apply=network.apply)


def example():
    height, width, channels = IMAGE_SHAPE
    return torch.zeros(2, channels, height, width)


def read(network, **options) -> dict[str, Role]:
    optimizer = LearnedOptimizer(network.model, num_steps=NUM_STEPS, **options)
    names = [name for name, _ in network.model.named_parameters()]
    found = optimizer.param_groups[0]["roles"]
    return {name: Role(*role) for name, role in zip(names, found, strict=True)}


def test_roles_are_those_of_the_jax_side(network, layout):
    """Catches a kind that the two sides read differently, by modules and by the forward pass."""
    channels_first = (IMAGE_SHAPE[2], *IMAGE_SHAPE[:2])
    traced = read(network, example=example())
    assert read(network, image_shape=channels_first) == traced
    kinds = {
        name: np.full(tuple(p.shape), list(traced).index(name))
        for name, p in network.model.named_parameters()
    }
    places = [set(np.unique(leaf)) for leaf in jax.tree.leaves(network.to_jax(kinds))]
    for where, role in zip(places, roles(layout), strict=True):
        if role.kind == "statistic":
            continue
        ours = traced[list(traced)[where.pop()]]
        assert NEAREST_KIND[ours.kind] == NEAREST_KIND[role.kind]
        if len(role.spatial_shape) == 3:
            height, width, channels = role.spatial_shape
            assert ours.points == (channels, height, width)
        else:
            assert ours.points == ()


RULES = {
    "structured": LEARNED_OPTIMIZERS["structured"](),
    "universal": LEARNED_OPTIMIZERS["universal"](
        counts_epochs=True, steps_per_epoch=STEPS_PER_EPOCH
    ),
}


def random_universal(tmp_path):
    """A file with random tables of `universal`, those of epochs among them."""
    learned = RULES["universal"]
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(learned.init, jax.random.key(0))
    theta = {name: np.float32(0.1 * rng.normal(size=shapes[name].shape)) for name in sorted(shapes)}
    return save_theta(tmp_path, theta, {"rule": "universal", "options": {"counts_epochs": True}})


@functools.cache
def scale_of(step: int) -> float:
    return float(10.0 ** (2 * np.sin(step)))


def jax_runs(rule, layout, params, grads, theta):
    """Weights after the run, for all thetas of a rule at once."""
    learned = RULES[rule]

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    @functools.partial(jax.vmap, in_axes=(0, None, None))
    def run(theta, params, grads):
        optimizer = learned.optimizer(theta, NUM_STEPS, layout)

        def one_step(carry, own):
            params, state = carry
            updates, state = optimizer.update(own, state, params)
            return (optax.apply_updates(params, updates), state), None

        (params, _), _ = jax.lax.scan(one_step, (params, optimizer.init(params)), grads)
        return params

    return run(theta, params, grads)


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    "shipped",
    [["spectral-cifar-convnet-gpu"], pytest.param(PORTED, marks=pytest.mark.slow)],
    ids=["one", "every"],
)
def test_steps_are_those_of_the_jax_side(network, layout, shipped, tmp_path):
    names = [*shipped, random_universal(tmp_path)]
    loaded = [load_learned(name) for name in names]
    rng = np.random.RandomState(0)
    start = {
        name: np.float32(0.3 * rng.randn(*p.shape)) for name, p in network.model.named_parameters()
    }
    grads = [
        {name: np.float32(scale_of(step) * rng.randn(*w.shape)) for name, w in start.items()}
        for step in range(NUM_UPDATES)
    ]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *map(network.to_jax, grads))
    theirs: dict[Any, Any] = {}
    for rule in ("structured", "universal"):
        # Of a theta that counts no epochs their exponents are none.
        fresh = RULES[rule].init(jax.random.key(0))
        thetas = [{**fresh, **one.theta} for one in loaded]
        own = [(n, one) for n, one in zip(names, thetas, strict=True) if rule_of(n) == rule]
        theta = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[theta for _, theta in own])
        ends = jax_runs(rule, layout, network.to_jax(start), stacked, theta)
        for at, (name, _) in enumerate(own):
            theirs[name] = jax.tree.map(lambda leaf, at=at: np.asarray(leaf[at]), ends)
    for at, name in enumerate(names):
        ours = network.to_jax(torch_run(network.model, name, start, grads, foreach=at % 2 == 0))
        for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs[name]), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=ATOL, err_msg=str(name))


def rule_of(name) -> str:
    return load_learned(name).card["rule"]


def torch_run(model, name, start, grads, *, foreach) -> dict[str, np.ndarray]:
    with torch.no_grad():
        for key, param in model.named_parameters():
            param.copy_(torch.from_numpy(start[key]))
    optimizer = LearnedOptimizer(
        *(model, name),
        num_steps=NUM_STEPS,
        steps_per_epoch=STEPS_PER_EPOCH,
        example=example(),
        foreach=foreach,
    )
    for own in grads:
        for key, param in model.named_parameters():
            param.grad = torch.from_numpy(own[key])
        optimizer.step()
    return {key: param.detach().numpy().copy() for key, param in model.named_parameters()}
