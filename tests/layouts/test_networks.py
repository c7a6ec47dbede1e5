"""Roles of networks as they are written in Flax, NNX, Equinox and Haiku, read or refused.

Each network is built on shapes alone. What must be read is stated once for each, by names.
"""

from typing import Any, NamedTuple

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from noiseproof.layouts.layout import layout_of, roles
from noiseproof.layouts.tensors import tensors_of

IMAGE_SHAPE = (16, 16, 3)
NUM_CLASSES = 7
IMAGES = jax.ShapeDtypeStruct((2, *IMAGE_SHAPE), jnp.float32)


class Network(NamedTuple):
    """Attributes: `params`, shapes; `apply`; `kinds`, what some tensors are, by the end of their
    names; `is_named`, whether names and shapes decide all roles, too."""

    params: Any
    apply: Any
    kinds: dict[str, str]
    is_named: bool


class LinenBlock(nn.Module):
    features: int
    stride: int = 1

    @nn.compact
    def __call__(self, x):
        y = nn.Conv(self.features, (3, 3), self.stride, use_bias=False)(x)
        y = nn.relu(nn.BatchNorm(use_running_average=False)(y))
        y = nn.Conv(self.features, (3, 3), use_bias=False)(y)
        y = nn.BatchNorm(use_running_average=False, scale_init=nn.initializers.zeros)(y)
        if y.shape != x.shape:
            x = nn.Conv(self.features, (1, 1), self.stride, use_bias=False, name="conv_proj")(x)
            x = nn.BatchNorm(use_running_average=False, name="norm_proj")(x)
        return nn.relu(x + y)


class LinenResNet(nn.Module):
    stem: str = "conv_init"
    norm: str = "bn_init"
    block: str = "Block_{}"
    head: str = "Dense_0"
    widths: tuple[int, ...] = (8, 16)

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (3, 3), use_bias=False, name=self.stem)(x)
        x = nn.relu(nn.BatchNorm(use_running_average=False, name=self.norm)(x))
        for index, width in enumerate(self.widths):
            x = LinenBlock(width, 1 + index % 2, name=self.block.format(index))(x)
        return nn.Dense(NUM_CLASSES, name=self.head)(x.mean(axis=(1, 2)))


class ConvNeXtBlock(nn.Module):
    @nn.compact
    def __call__(self, x):
        y = nn.Conv(12, (7, 7), feature_group_count=12, name="dwconv")(x)
        y = nn.Dense(48, name="pwconv1")(nn.LayerNorm(name="norm")(y))
        y = nn.Dense(12, name="pwconv2")(nn.gelu(y))
        return x + self.param("layer_scale", nn.initializers.ones, (12,)) * y


class ConvNeXt(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.LayerNorm(name="stem_norm")(nn.Conv(12, (4, 4), (4, 4), name="stem")(x))
        for index in range(2):
            x = ConvNeXtBlock(name=f"stage_{index}")(x)
        return nn.Dense(NUM_CLASSES, name="head")(nn.LayerNorm(name="norm")(x.mean(axis=(1, 2))))


class ViT(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (4, 4), (4, 4), name="embedding")(x).reshape(x.shape[0], -1, 8)
        cls = self.param("cls", nn.initializers.zeros, (1, 1, 8))
        x = jnp.concatenate([jnp.tile(cls, (x.shape[0], 1, 1)), x], axis=1)
        x = x + self.param("pos_embedding", nn.initializers.zeros, (1, x.shape[1], 8))
        for _ in range(2):
            x = x + nn.MultiHeadDotProductAttention(2)(nn.LayerNorm()(x))
            x = x + nn.Dense(8)(nn.gelu(nn.Dense(32)(nn.LayerNorm()(x))))
        temperature = self.param("temperature", nn.initializers.ones, ())
        return nn.Dense(NUM_CLASSES, name="head")(nn.LayerNorm()(x)[:, 0]) * temperature


class Mixer(nn.Module):
    """Patches by a reshape, and a pooling by a learned query."""

    @nn.compact
    def __call__(self, x):
        x = x.reshape(-1, 4, 4, 4, 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 16, 48)
        x = nn.Dense(8, name="patches")(x)
        for index in range(2):
            y = nn.LayerNorm(name=f"norm_{index}")(x).swapaxes(1, 2)
            y = nn.Dense(16, name=f"tokens_out_{index}")(
                nn.gelu(nn.Dense(5, name=f"in_{index}")(y))
            )
            x = x + y.swapaxes(1, 2)
        query = self.param("probe", nn.initializers.normal(), (1, 1, 8))
        query = jnp.tile(query, (x.shape[0], 1, 1))
        x = nn.MultiHeadDotProductAttention(2, name="pool")(query, x)
        return nn.Dense(NUM_CLASSES, name="head")(x[:, 0])


class UNet(nn.Module):
    """Down, up by a transposed convolution, and a map of classes that is averaged."""

    @nn.compact
    def __call__(self, x):
        down = nn.relu(nn.Conv(6, (3, 3), name="down")(x))
        low = nn.relu(nn.Conv(9, (3, 3), (2, 2), name="middle")(down))
        up = nn.ConvTranspose(6, (2, 2), (2, 2), transpose_kernel=True, name="up")(low)
        x = jnp.concatenate([down, up], axis=-1)
        x = nn.PReLU(name="slope")(nn.GroupNorm(2, name="group")(x))
        return nn.Conv(NUM_CLASSES, (1, 1), name="classes")(x).mean(axis=(1, 2))


def linen(module: nn.Module, kinds: dict[str, str], is_named: bool = False) -> Network:
    shapes = jax.eval_shape(module.init, jax.random.key(0), IMAGES)

    def apply(params, images):
        return module.apply({"params": params}, images, mutable=["batch_stats"])[0]

    return Network(shapes["params"], apply, kinds, is_named)


class ScannedBlock(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return x + nn.Dense(8)(nn.LayerNorm()(x)), None


class Scanned(nn.Module):
    """Layers stacked along the first axis of each tensor, and rematerialized."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(8, name="stem")(x.reshape(x.shape[0], -1))
        layers = nn.scan(
            nn.remat(ScannedBlock),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=3,
        )
        x, _ = layers(name="layers")(x, None)
        return nn.Dense(NUM_CLASSES, name="head")(x)


class NnxResNet(nnx.Module):
    def __init__(self, rngs):
        self.stem = nnx.Conv(3, 8, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.blocks = nnx.List([nnx.Conv(8, 8, (3, 3), rngs=rngs) for _ in range(11)])
        self.head = nnx.Linear(8, NUM_CLASSES, rngs=rngs)

    def __call__(self, x):
        x = self.norm(self.stem(x))
        for block in self.blocks:
            x = x + nnx.relu(block(x))
        return self.head(x.mean(axis=(1, 2)))


def nnx_resnet() -> Network:
    module = nnx.eval_shape(lambda: NnxResNet(nnx.Rngs(0)))
    graph, params, rest = nnx.split(module, nnx.Param, ...)
    rest = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), rest)
    kinds = {"stem/kernel": "first", "head/kernel": "readout", "norm/scale": "norm"}
    kinds |= {f"blocks/{index}/kernel": "hidden" for index in range(11)}
    return Network(params, lambda p, x: nnx.merge(graph, p, rest, copy=True)(x), kinds, False)


class EquinoxNet(eqx.Module):
    stem: eqx.nn.Conv2d
    layers: list
    norm: eqx.nn.GroupNorm
    attention: eqx.nn.MultiheadAttention
    head: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 5)
        self.stem = eqx.nn.Conv2d(3, 8, 3, padding=1, key=keys[0])
        self.layers = [
            eqx.nn.Conv2d(8, 8, 3, padding=1, groups=8, key=keys[1]),
            eqx.nn.Conv2d(8, 8, 1, key=keys[2]),
        ]
        self.norm = eqx.nn.GroupNorm(2, 8)
        self.attention = eqx.nn.MultiheadAttention(2, 8, key=keys[3])
        self.head = eqx.nn.Linear(8, NUM_CLASSES, key=keys[4])

    def __call__(self, image):
        x = jax.nn.relu(self.norm(self.stem(jnp.moveaxis(image, -1, 0))))
        for layer in self.layers:
            x = x + jax.nn.relu(layer(x))
        tokens = x.reshape(8, -1).T
        return self.head(self.attention(tokens, tokens, tokens).mean(axis=0))


def equinox(build: Any, kinds: dict[str, str], is_named: bool) -> Network:
    module = eqx.filter_eval_shape(build, jax.random.key(0))
    params, static = eqx.partition(module, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    return Network(params, lambda p, x: jax.vmap(eqx.combine(p, static))(x), kinds, is_named)


class EquinoxMlp(eqx.Module):
    layers: list

    def __init__(self, key):
        sizes = [(768, 12), (12, 12), (12, NUM_CLASSES)]
        self.layers = [eqx.nn.Linear(*size, key=key) for size in sizes]

    def __call__(self, image):
        x = image.ravel()
        for layer in self.layers[:-1]:
            x = jax.nn.relu(layer(x))
        return self.layers[-1](x)


def haiku_resnet() -> Network:
    def forward(images):
        x = hk.Conv2D(8, 3, with_bias=False, name="initial_conv")(images)
        x = jax.nn.relu(hk.BatchNorm(True, True, 0.9, name="initial_norm")(x, is_training=True))
        for _ in range(2):
            y = hk.Conv2D(8, 3, with_bias=False)(x)
            x = x + jax.nn.relu(hk.BatchNorm(True, True, 0.9)(y, is_training=True))
        return hk.Linear(NUM_CLASSES, name="logits")(x.mean(axis=(1, 2)))

    net = hk.transform_with_state(forward)
    params, state = jax.eval_shape(net.init, jax.random.key(0), IMAGES)
    state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), state)
    kinds = {
        "initial_conv/w": "first",
        "conv2_d/w": "hidden",
        "conv2_d_1/w": "hidden",
        "batch_norm/scale": "norm",
        "batch_norm_1/offset": "bias",
        "logits/w": "readout",
        "logits/b": "bias",
    }
    return Network(params, lambda p, x: net.apply(p, state, None, x)[0], kinds, False)


def resnet_kinds(stem: str, head: str) -> dict[str, str]:
    return {
        f"{stem}/kernel": "first",
        "Conv_0/kernel": "hidden",
        "Conv_1/kernel": "hidden",
        "conv_proj/kernel": "pointwise",
        "norm_proj/scale": "norm",
        "BatchNorm_0/bias": "bias",
        f"{head}/kernel": "readout",
        f"{head}/bias": "bias",
    }


BUILDERS = {
    "linen residual net": lambda: linen(LinenResNet(), resnet_kinds("conv_init", "Dense_0")),
    "linen default names": lambda: linen(
        LinenResNet("Conv_0", "BatchNorm_0"),
        {k: v for k, v in resnet_kinds("Conv_0", "Dense_0").items() if "Conv_0" not in k},
    ),
    "stem, blocks, head": lambda: linen(
        LinenResNet("stem", "stem_norm", "blocks_{}", "head"), resnet_kinds("stem", "head")
    ),
    "torchvision's names": lambda: linen(
        LinenResNet("conv1", "bn1", "layer{}", "fc"), resnet_kinds("conv1", "fc")
    ),
    "convnext": lambda: linen(
        ConvNeXt(),
        {
            "stem/kernel": "first",
            "dwconv/kernel": "depthwise",
            "pwconv1/kernel": "hidden",
            "layer_scale": "norm",
            "norm/scale": "norm",
            "head/kernel": "readout",
        },
    ),
    "vision transformer": lambda: linen(
        ViT(),
        {
            "embedding/kernel": "first",
            "cls": "token",
            "pos_embedding": "position",
            "query/kernel": "attention",
            "query/bias": "bias",
            "out/kernel": "attention",
            "temperature": "scalar",
            "head/kernel": "readout",
        },
    ),
    "mixer": lambda: linen(
        Mixer(),
        {
            "patches/kernel": "first",
            "in_0/kernel": "hidden",
            "tokens_out_1/bias": "bias",
            "probe": "token",
            "query/kernel": "attention",
            "query/bias": "bias",
            "head/kernel": "readout",
        },
    ),
    "u-net": lambda: linen(
        UNet(),
        {
            "down/kernel": "first",
            "middle/kernel": "hidden",
            "up/kernel": "hidden",
            "slope/negative_slope": "scalar",
            "group/scale": "norm",
            "classes/kernel": "readout",
        },
    ),
    "scanned layers": lambda: linen(
        Scanned(),
        {
            "stem/kernel": "first",
            "Dense_0/kernel": "hidden",
            "LayerNorm_0/scale": "norm",
            "head/kernel": "readout",
        },
    ),
    "nnx": nnx_resnet,
    "equinox": lambda: equinox(
        EquinoxNet,
        {
            "stem/weight": "first",
            "stem/bias": "bias",
            "layers/0/weight": "depthwise",
            "layers/1/weight": "pointwise",
            "norm/weight": "norm",
            "query_proj/weight": "attention",
            "head/weight": "readout",
        },
        False,
    ),
    "equinox perceptron": lambda: equinox(
        EquinoxMlp,
        {"layers/0/weight": "first", "layers/1/weight": "hidden", "layers/2/weight": "readout"},
        False,  # nothing says that its images are flattened channels last
    ),
    "haiku": haiku_resnet,
}


@pytest.fixture(scope="module", params=BUILDERS, ids=str)
def network(request):
    return BUILDERS[request.param]()


def by_name(network, layout):
    found = [("/".join(t.path), t) for t in tensors_of(network.params)]
    return {name: (t, role) for (name, t), role in zip(found, roles(layout), strict=True)}


def test_the_forward_pass_says_all_roles(network):
    """Catches depth by the alphabet, filters read over the wrong axes, tables read as weights."""
    found = by_name(network, layout_of(network.params, IMAGE_SHAPE, apply=network.apply))
    for ending, kind in network.kinds.items():
        matching = {n: r.kind for n, (_, r) in found.items() if f"/{n}".endswith(f"/{ending}")}
        assert matching
        assert set(matching.values()) == {kind}, matching
    kinds = [role.kind for _, role in found.values()]
    assert kinds.count("first") == kinds.count("readout") == 1
    for name, (tensor, role) in found.items():
        if role.kind == "first":
            assert role.depth_fraction == 0.0
            assert role.spatial_shape[-1] == 3, name
        if role.kind == "readout":
            assert role.depth_fraction == 1.0
            last = role.outputs or (len(tensor.shape) - 1,)
            assert [tensor.shape[axis] for axis in last] == [NUM_CLASSES]


def test_names_say_the_same_or_are_refused(network):
    """Catches a guess: without the forward pass the same roles, or one line that asks for it."""
    traced = layout_of(network.params, IMAGE_SHAPE, apply=network.apply)
    if network.is_named:
        named = layout_of(network.params, IMAGE_SHAPE, num_classes=NUM_CLASSES)
        assert roles(named) == roles(traced)
        return
    with pytest.raises(ValueError, match="apply=lambda params, images") as refusal:
        layout_of(network.params, IMAGE_SHAPE, num_classes=NUM_CLASSES)
    assert len(str(refusal.value)) < 300
