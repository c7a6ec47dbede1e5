"""Roles of small nets in the style of public code bases, whose names are traps for the alphabet.

Each net says its weights in the order of its forward pass. None may be misread: that order, the
first layer, the readout and what is depthwise or pointwise come out, or names alone are refused.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import pytest

from noiseproof.layouts.layout import layout_of, roles
from noiseproof.layouts.tensors import tensors_of

IMAGE_SHAPE = (16, 16, 3)
NUM_CLASSES = 7
IMAGES = jax.ShapeDtypeStruct((2, *IMAGE_SHAPE), jnp.float32)
KINDS = {"first", "hidden", "pointwise", "depthwise", "attention", "readout"}


class Network(NamedTuple):
    """Attributes: `params`, shapes; `apply`; `order`, weights and their kinds, input first."""

    params: Any
    apply: Any
    order: dict[str, str]


def batch_norm(name: str) -> nn.Module:
    return nn.BatchNorm(use_running_average=False, name=name)


class DenseNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (3, 3), name="conv0")(x)
        for index in range(2):
            y = nn.relu(batch_norm(f"denselayer{index}_norm")(x))
            y = nn.Conv(16, (1, 1), name=f"denselayer{index}_conv1")(y)
            y = nn.Conv(4, (3, 3), name=f"denselayer{index}_conv2")(nn.relu(y))
            x = jnp.concatenate([x, y], axis=-1)
        x = nn.avg_pool(nn.Conv(10, (1, 1), name="transition")(x), (2, 2), (2, 2))
        return nn.Dense(NUM_CLASSES, name="classifier")(x.mean(axis=(1, 2)))


class MobileNet(nn.Module):
    """Inverted residuals with squeeze and excitation, as in EfficientNet."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu6(nn.Conv(8, (3, 3), (2, 2), name="features_0")(x))
        y = nn.relu6(nn.Conv(24, (1, 1), name="expand")(x))
        y = nn.relu6(nn.Conv(24, (3, 3), feature_group_count=24, name="conv_dw")(y))
        gate = nn.silu(nn.Conv(6, (1, 1), name="se_reduce")(y.mean(axis=(1, 2), keepdims=True)))
        y = y * nn.sigmoid(nn.Conv(24, (1, 1), name="se_expand")(gate))
        x = x + nn.Conv(8, (1, 1), name="conv_pwl")(y)
        x = nn.relu6(nn.Conv(32, (1, 1), name="Conv_head")(x))
        return nn.Dense(NUM_CLASSES, name="Dense")(x.mean(axis=(1, 2)))


class Vgg(nn.Module):
    @nn.compact
    def __call__(self, x):
        for width in (8, 9):
            x = nn.max_pool(nn.relu(nn.Conv(width, (3, 3))(x)), (2, 2), (2, 2))
        x = nn.relu(nn.Dense(20)(x.reshape(x.shape[0], -1)))
        return nn.log_softmax(nn.Dense(NUM_CLASSES)(nn.relu(nn.Dense(20)(x))))


class LeNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        for name, width in (("c1", 6), ("c3", 9)):
            x = nn.avg_pool(nn.tanh(nn.Conv(width, (5, 5), name=name)(x)), (2, 2), (2, 2))
        x = nn.tanh(nn.Dense(12, name="a5")(x.reshape(x.shape[0], -1)))
        return nn.Dense(NUM_CLASSES, name="b6")(x)


class WideResNet(nn.Module):
    """Norms before filters, ways around them, and names that count backward."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (3, 3), name="init_conv")(x)
        for index, width in enumerate((8, 16)):
            block, stride = f"z{9 - index}", (1 + index, 1 + index)
            y = nn.relu(nn.GroupNorm(2, name=f"{block}_norm1")(x))
            around = nn.Conv(width, (1, 1), stride, name=f"a_shortcut{index}")(y)
            y = nn.Conv(width, (3, 3), stride, name=f"{block}_conv1")(y)
            y = nn.relu(nn.GroupNorm(2, name=f"{block}_norm2")(y))
            x = around + nn.Conv(width, (3, 3), name=f"{block}_conv2")(y)
        x = nn.relu(nn.GroupNorm(2, name="a_last")(x)).mean(axis=(1, 2))
        return nn.Dense(NUM_CLASSES, name="a_readout")(x)


class Gpt(nn.Module):
    """Attention with an axis of heads in its weights, and a layer scale."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(12, name="wte")(x.reshape(x.shape[0], 16, 48))
        x = x + self.param("wpe", nn.initializers.normal(), (16, 12))
        y = nn.LayerNorm(name="ln_1")(x)
        q, k, v = (nn.DenseGeneral((3, 4), name=name)(y) for name in "qkv")
        weights = nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k))
        y = jnp.einsum("bhqk,bkhd->bqhd", weights, v)
        x = x + nn.DenseGeneral(12, axis=(-2, -1), name="c_proj")(y)
        y = nn.Dense(48, name="mlp_fc")(nn.LayerNorm(name="ln_2")(x))
        scale = self.param("gamma", nn.initializers.ones, (12,))
        x = x + scale * nn.Dense(12, name="mlp_proj")(nn.gelu(y))
        return nn.Dense(NUM_CLASSES, use_bias=False, name="lm_head")(x.mean(axis=1))


class Bottleneck(nn.Module):
    """The default names of a library, which count over the whole net."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(8, (7, 7), (2, 2), use_bias=False)(x))
        for _ in range(4):
            y = nn.relu(nn.Conv(4, (1, 1), use_bias=False)(x))
            y = nn.relu(nn.Conv(4, (3, 3), use_bias=False)(y))
            x = nn.relu(x + nn.Conv(8, (1, 1), use_bias=False)(y))
        return nn.Dense(NUM_CLASSES)(x.mean(axis=(1, 2)))


def linen(module: nn.Module, order: dict[str, str]) -> Network:
    shapes = jax.eval_shape(module.init, jax.random.key(0), IMAGES)

    def apply(params, images):
        return module.apply({"params": params}, images, mutable=["batch_stats"])[0]

    return Network(shapes["params"], apply, {f"{name}/kernel": order[name] for name in order})


def haiku_mobile() -> Network:
    def forward(images):
        net = hk.nets.MobileNetV1((1, 2), (8, 9), num_classes=NUM_CLASSES, use_bn=False)
        return net(images, is_training=True)

    net = hk.without_apply_rng(hk.transform(forward))
    block = "mobile_net_v1/mobile_net_v1_block"
    order = {
        "mobile_net_v1/conv2_d/w": "first",
        f"{block}/depthwise_conv/w": "depthwise",
        f"{block}/pointwise_conv/w": "pointwise",
        f"{block}_1/depthwise_conv/w": "depthwise",
        f"{block}_1/pointwise_conv/w": "pointwise",
        "mobile_net_v1/logits/w": "readout",
    }
    return Network(jax.eval_shape(net.init, jax.random.key(0), IMAGES), net.apply, order)


def hidden(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "hidden")


BUILDERS = {
    "densenet": lambda: linen(
        DenseNet(),
        {
            **{"conv0": "first", "denselayer0_conv1": "pointwise", "denselayer0_conv2": "hidden"},
            **{"denselayer1_conv1": "pointwise", "denselayer1_conv2": "hidden"},
            **{"transition": "pointwise", "classifier": "readout"},
        },
    ),
    "mobilenet": lambda: linen(
        MobileNet(),
        {
            **{"features_0": "first", "expand": "pointwise", "conv_dw": "depthwise"},
            **dict.fromkeys(("se_reduce", "se_expand", "conv_pwl", "Conv_head"), "pointwise"),
            "Dense": "readout",
        },
    ),
    # The readout is made before what it is called on, and so has the lower number.
    "vgg": lambda: linen(
        Vgg(), {"Conv_0": "first", **hidden("Conv_1", "Dense_0", "Dense_2"), "Dense_1": "readout"}
    ),
    "lenet": lambda: linen(LeNet(), {"c1": "first", **hidden("c3", "a5"), "b6": "readout"}),
    "wide resnet": lambda: linen(
        WideResNet(),
        {
            **{"init_conv": "first", "a_shortcut0": "pointwise"},
            **hidden("z9_conv1", "z9_conv2"),
            "a_shortcut1": "pointwise",
            **hidden("z8_conv1", "z8_conv2"),
            "a_readout": "readout",
        },
    ),
    "gpt": lambda: linen(
        Gpt(),
        {
            "wte": "first",
            **dict.fromkeys((*"qkv", "c_proj"), "attention"),
            **hidden("mlp_fc", "mlp_proj"),
            "lm_head": "readout",
        },
    ),
    "bottleneck": lambda: linen(
        Bottleneck(),
        {
            "Conv_0": "first",
            **{f"Conv_{n}": "hidden" if n % 3 == 2 else "pointwise" for n in range(1, 13)},
            "Dense_0": "readout",
        },
    ),
    "haiku's mobilenet": haiku_mobile,
}


def by_names(network: Network) -> Any:
    """The layout that names and shapes say, or the line that refuses it."""
    try:
        return layout_of(network.params, IMAGE_SHAPE, num_classes=NUM_CLASSES)
    except ValueError as refusal:
        return str(refusal)


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_no_network_is_misread(build):
    """Catches depth by names, a head that is not last, filters of one channel read as full."""
    network = build()
    layout = layout_of(network.params, IMAGE_SHAPE, apply=network.apply)
    names = ["/".join(tensor.path) for tensor in tensors_of(network.params)]
    found = dict(zip(names, roles(layout), strict=True))
    weights = {name: role for name, role in found.items() if role.kind in KINDS}
    by_depth = sorted(weights, key=lambda name: weights[name].depth_fraction)
    assert {name: weights[name].kind for name in by_depth} == network.order
    assert by_depth == list(network.order)
    named = by_names(network)
    assert "apply=lambda" in named if isinstance(named, str) else roles(named) == roles(layout)
