"""Roles of small nets as public code writes them in Equinox and Haiku: read right or refused.

Structures and names are those of the code bases that each class names; sizes are tiny. What each
tensor is, and in what order the image meets the weights, is stated by hand.
"""

from typing import Any

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import pytest

IMAGE_SHAPE = (16, 16, 3)
NUM_CLASSES = 7
IMAGES = jax.ShapeDtypeStruct((2, *IMAGE_SHAPE), jnp.float32)
KEY = jax.random.PRNGKey(0)


def conv(fan_in: int, fan_out: int, size: int = 3, **options: Any) -> eqx.nn.Conv2d:
    return eqx.nn.Conv2d(fan_in, fan_out, size, padding="SAME", key=KEY, **options)


def linear(fan_in: int, fan_out: int, **options: Any) -> eqx.nn.Linear:
    return eqx.nn.Linear(fan_in, fan_out, key=KEY, **options)


class EqxVgg(eqx.Module):
    """Layers in one list, and slopes that are learned."""

    features: list
    slopes: list
    classifier: list

    def __init__(self):
        self.features = [conv(3, 8), conv(8, 8), conv(8, 9)]
        self.slopes = [eqx.nn.PReLU() for _ in range(3)]
        self.classifier = [linear(36, 10), linear(10, 10), linear(10, NUM_CLASSES)]

    def __call__(self, x):
        pool = eqx.nn.MaxPool2d(2, 2)
        for layer, slope in zip(self.features, self.slopes, strict=True):
            x = pool(slope(layer(x)))
        x = x.ravel()
        for layer in self.classifier:
            x = layer(x)
        return x


class EqxDenseNet(eqx.Module):
    conv0: eqx.nn.Conv2d
    norms: list
    bottlenecks: list
    grown: list
    transition: eqx.nn.Conv2d
    classifier: eqx.nn.Linear

    def __init__(self):
        self.conv0 = conv(3, 8)
        self.norms = [eqx.nn.GroupNorm(4, 8 + 4 * at) for at in range(2)]
        self.bottlenecks = [conv(8 + 4 * at, 16, 1, use_bias=False) for at in range(2)]
        self.grown = [conv(16, 4, use_bias=False) for _ in range(2)]
        self.transition = conv(16, 8, 1)
        self.classifier = linear(8, NUM_CLASSES)

    def __call__(self, x):
        x = self.conv0(x)
        for norm, bottleneck, grow in zip(self.norms, self.bottlenecks, self.grown, strict=True):
            x = jnp.concatenate([x, grow(bottleneck(jax.nn.relu(norm(x))))])
        return self.classifier(self.transition(x).mean(axis=(1, 2)))


class EqxConvNeXtBlock(eqx.Module):
    dwconv: eqx.nn.Conv2d
    norm: eqx.nn.LayerNorm
    pwconv1: eqx.nn.Linear
    pwconv2: eqx.nn.Linear
    gamma: jax.Array

    def __init__(self):
        self.dwconv, self.norm = conv(8, 8, 7, groups=8), eqx.nn.LayerNorm(8)
        self.pwconv1, self.pwconv2 = linear(8, 32), linear(32, 8)
        self.gamma = jnp.full((8, 1, 1), 1e-6)

    def __call__(self, x):
        y = jnp.moveaxis(self.dwconv(x), 0, -1).reshape(-1, 8)
        y = jax.vmap(lambda one: self.pwconv2(jax.nn.gelu(self.pwconv1(self.norm(one)))))(y)
        return x + self.gamma * jnp.moveaxis(y.reshape(*x.shape[1:], 8), -1, 0)


class EqxConvNeXt(eqx.Module):
    stem: eqx.nn.Conv2d
    blocks: list
    downsample: eqx.nn.Conv2d
    norm: eqx.nn.LayerNorm
    head: eqx.nn.Linear

    def __init__(self):
        self.stem = eqx.nn.Conv2d(3, 8, 4, 4, key=KEY)
        self.blocks = [EqxConvNeXtBlock(), EqxConvNeXtBlock()]
        self.downsample = eqx.nn.Conv2d(8, 12, 2, 2, key=KEY)
        self.norm, self.head = eqx.nn.LayerNorm(12), linear(12, NUM_CLASSES)

    def __call__(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(self.downsample(x).mean(axis=(1, 2))))


class EqxEncoder(eqx.Module):
    layer_norm1: eqx.nn.LayerNorm
    attention: eqx.nn.MultiheadAttention
    layer_norm2: eqx.nn.LayerNorm
    linear1: eqx.nn.Linear
    linear2: eqx.nn.Linear

    def __init__(self):
        self.layer_norm1, self.layer_norm2 = eqx.nn.LayerNorm(8), eqx.nn.LayerNorm(8)
        self.attention = eqx.nn.MultiheadAttention(2, 8, use_query_bias=True, key=KEY)
        self.linear1, self.linear2 = linear(8, 16), linear(16, 8)

    def __call__(self, x):
        y = jax.vmap(self.layer_norm1)(x)
        x = x + self.attention(y, y, y)
        y = jax.vmap(self.linear1)(jax.vmap(self.layer_norm2)(x))
        return x + jax.vmap(self.linear2)(jax.nn.gelu(y))


class EqxViT(eqx.Module):
    """The documentation's: patches by a reshape, channels first."""

    patch_embedding: eqx.nn.Linear
    cls_token: jax.Array
    positional_embedding: jax.Array
    blocks: list
    mlp: eqx.nn.Sequential

    def __init__(self):
        self.patch_embedding = linear(48, 8)
        self.cls_token, self.positional_embedding = jnp.zeros((1, 8)), jnp.zeros((17, 8))
        self.blocks = [EqxEncoder(), EqxEncoder()]
        self.mlp = eqx.nn.Sequential([eqx.nn.LayerNorm(8), linear(8, NUM_CLASSES)])

    def __call__(self, x):
        patches = x.reshape(3, 4, 4, 4, 4).transpose(1, 3, 0, 2, 4).reshape(16, 48)
        x = jnp.concatenate([self.cls_token, jax.vmap(self.patch_embedding)(patches)])
        x = x + self.positional_embedding
        for block in self.blocks:
            x = block(x)
        return self.mlp(x[0])


class EqxUNet(eqx.Module):
    """No class logits: a map of classes, whose last filters are the readout."""

    encoder: list
    transpose: eqx.nn.ConvTranspose2d
    decoder: eqx.nn.Conv2d
    final: eqx.nn.Conv2d

    def __init__(self):
        self.encoder = [conv(3, 4), conv(4, 8)]
        self.transpose = eqx.nn.ConvTranspose2d(8, 4, 2, 2, key=KEY)
        self.decoder, self.final = conv(8, 4), conv(4, NUM_CLASSES, 1)

    def __call__(self, x):
        high = jax.nn.relu(self.encoder[0](x))
        low = jax.nn.relu(self.encoder[1](eqx.nn.MaxPool2d(2, 2)(high)))
        x = self.decoder(jnp.concatenate([high, self.transpose(low)]))
        return jnp.moveaxis(self.final(jax.nn.relu(x)), 0, -1)


def equinox(build: Any, weights: str, others: dict[str, str]) -> tuple[Any, ...]:
    module = eqx.filter_eval_shape(build)
    params, static = eqx.partition(module, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))

    def apply(params, images):
        return jax.vmap(eqx.combine(params, static))(jnp.moveaxis(images, -1, 1))

    others = {**others, r"\bbias$": "bias", "norm": "norm"}
    return params, apply, lines(*weights.split(", "), end="/weight"), others, True


def haiku(forward: Any, weights: str, others: dict[str, str]) -> tuple[Any, ...]:
    net = hk.transform_with_state(forward)
    params, state = jax.eval_shape(net.init, jax.random.key(0), IMAGES)
    state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), state)
    others = {**others, r"(/b|offset)$": "bias", "scale$": "norm"}
    names = lines(*weights.split(", "), end="/w")
    return params, lambda p, x: net.apply(p, state, None, x)[0], names, others


def lines(*weights: str, end: str) -> str:
    """Names of weights and kinds, hidden where nothing is said."""
    pairs = (weight.partition(" ") for weight in weights)
    return "\n".join(f"{name}{end} {kind or 'hidden'}" for name, _, kind in pairs)


def pre_activation(x):
    """haiku.nets' ResNet v2, with its projections."""
    block = {"channels_per_group": (8, 16, 16, 16), "blocks_per_group": (1, 1, 1, 1)}
    net = hk.nets.ResNet(
        **block,
        num_classes=NUM_CLASSES,
        resnet_v2=True,
        bottleneck=False,
        use_projection=(True,) * 4,
    )
    return net(x, is_training=True)


def mixer(x):
    x = hk.Conv2D(8, 4, 4, name="stem")(x).reshape(x.shape[0], 16, 8)
    for index in range(2):
        y = hk.LayerNorm(-1, True, True, name=f"ln_a{index}")(x).swapaxes(1, 2)
        x = x + hk.nets.MLP([5, 16], name=f"token_mixing{index}")(y).swapaxes(1, 2)
        y = hk.LayerNorm(-1, True, True, name=f"ln_b{index}")(x)
        x = x + hk.nets.MLP([12, 8], name=f"channel_mixing{index}")(y)
    x = hk.LayerNorm(-1, True, True, name="pre_head_layer_norm")(x).mean(axis=1)
    return hk.Linear(NUM_CLASSES, name="head")(x)


class ScaledConv(hk.Module):
    """Of normalizer-free nets: filters that are standardized and multiplied by a gain."""

    def __init__(self, channels, size, name, groups=1):
        super().__init__(name)
        self.shape, self.groups = (size, size, channels), groups

    def __call__(self, x):
        shape = (*self.shape[:2], x.shape[-1] // self.groups, self.shape[-1])
        weight = hk.get_parameter("w", shape, init=hk.initializers.RandomNormal())
        gain = hk.get_parameter("gain", shape[-1:], init=jnp.ones)
        weight = gain * (weight - weight.mean(axis=(0, 1, 2))) / weight.std(axis=(0, 1, 2))
        numbers = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(
            x, weight, (1, 1), "SAME", dimension_numbers=numbers, feature_group_count=self.groups
        )
        return y + hk.get_parameter("b", shape[-1:], init=jnp.zeros)


def normalizer_free(x):
    x = ScaledConv(8, 3, "stem_conv0")(x)
    for index in range(2):
        y = ScaledConv(8, 1, f"block{index}_conv0")(jax.nn.gelu(x))
        y = ScaledConv(8, 3, f"block{index}_conv1", groups=2)(jax.nn.gelu(y))
        gate = hk.Linear(8, name=f"se{index}_up")(
            jax.nn.relu(hk.Linear(4, name=f"se{index}_down")(y.mean(axis=(1, 2))))
        )
        gain = hk.get_parameter(f"skip_gain{index}", (), init=jnp.zeros)
        x = x + y * jax.nn.sigmoid(gate)[:, None, None] * gain
    return hk.Linear(NUM_CLASSES, name="linear")(x.mean(axis=(1, 2)))


RESNET = "res_net/block_group_{0}/block_0/"
NETS = {
    "equinox vgg": lambda: equinox(
        EqxVgg,
        "features/0 first, features/1, features/2, classifier/0, classifier/1,"
        " classifier/2 readout",
        {"slopes": "scalar"},
    ),
    "equinox densenet": lambda: equinox(
        EqxDenseNet,
        "conv0 first, bottlenecks/0 pointwise, grown/0, bottlenecks/1 pointwise, grown/1,"
        " transition pointwise, classifier readout",
        {},
    ),
    "equinox convnext": lambda: equinox(
        EqxConvNeXt,
        "stem first, blocks/0/dwconv depthwise, blocks/0/pwconv1, blocks/0/pwconv2,"
        " blocks/1/dwconv depthwise, blocks/1/pwconv1, blocks/1/pwconv2, downsample, head readout",
        {"gamma": "norm"},
    ),
    "equinox vision transformer": lambda: equinox(
        EqxViT,
        "patch_embedding first, "
        + ", ".join(
            f"blocks/{index}/{name}"
            for index in range(2)
            for name in (
                *(
                    f"attention/{part}_proj attention"
                    for part in ("query", "key", "value", "output")
                ),
                *("linear1", "linear2"),
            )
        )
        + ", mlp/layers/1 readout",
        {"cls_token": "token", "positional": "position", "mlp/layers/0/weight": "norm"},
    ),
    "equinox u-net that segments": lambda: equinox(
        EqxUNet, "encoder/0 first, encoder/1, transpose, decoder, final readout", {}
    ),
    "haiku's resnet": lambda: haiku(
        pre_activation,
        "res_net/initial_conv first, "
        + ", ".join(
            RESNET.format(index) + name
            for index in range(4)
            for name in ("shortcut_conv pointwise", "conv_0", "conv_1")
        )
        + ", res_net/logits readout",
        {},
    ),
    "haiku mixer": lambda: haiku(
        mixer,
        "stem first, token_mixing0/linear_0, token_mixing0/linear_1, channel_mixing0/linear_0,"
        " channel_mixing0/linear_1, token_mixing1/linear_0, token_mixing1/linear_1,"
        " channel_mixing1/linear_0, channel_mixing1/linear_1, head readout",
        {},
    ),
    "haiku without norms": lambda: haiku(
        normalizer_free,
        "stem_conv0 first, block0_conv0 pointwise, block0_conv1, se0_down, se0_up,"
        " block1_conv0 pointwise, block1_conv1, se1_down, se1_up, linear readout",
        {"skip_gain": "scalar", "gain": "norm"},
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_a_public_net_is_read_right_or_refused(name, roles_are):
    """Catches depth by names or attributes, tables as weights, filters over the wrong axes."""
    roles_are(*NETS[name]())
