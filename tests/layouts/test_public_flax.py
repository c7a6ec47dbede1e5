"""Roles of small nets as public code writes them in Flax Linen and NNX: read right or refused.

Structures and names are those of the code bases that each class names; sizes are tiny. What each
tensor is, and in what order the image meets the weights, is stated by hand.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

IMAGE_SHAPE = (16, 16, 3)
NUM_CLASSES = 7
IMAGES = jax.ShapeDtypeStruct((2, *IMAGE_SHAPE), jnp.float32)
VECTORS = {r"(scale|gamma)$": "norm", r"(bias|beta)$": "bias"}


def norm(name: str) -> nn.Module:
    return nn.BatchNorm(use_running_average=False, name=name)


class MBConv(nn.Module):
    """EfficientNet: expansion, depthwise filters, squeeze and excitation, projection."""

    features: int

    @nn.compact
    def __call__(self, x):
        width = 4 * x.shape[-1]
        y = nn.swish(norm("bn0")(nn.Conv(width, (1, 1), use_bias=False, name="expand_conv")(x)))
        depthwise = nn.Conv(
            width, (5, 5), feature_group_count=width, use_bias=False, name="depthwise_conv"
        )
        y = nn.swish(norm("bn1")(depthwise(y)))
        squeezed = y.mean(axis=(1, 2), keepdims=True)
        gate = nn.Conv(width, (1, 1), name="se_expand")(
            nn.swish(nn.Conv(2, (1, 1), name="se_reduce")(squeezed))
        )
        y = nn.sigmoid(gate) * y
        y = norm("bn2")(nn.Conv(self.features, (1, 1), use_bias=False, name="project_conv")(y))
        return x + y if x.shape == y.shape else y


class EfficientNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.swish(norm("bn_stem")(nn.Conv(8, (3, 3), (2, 2), name="stem_conv")(x)))
        for index, width in enumerate((8, 12)):
            x = MBConv(width, name=f"blocks_{index}")(x)
        x = nn.swish(norm("bn_head")(nn.Conv(24, (1, 1), name="head_conv")(x)))
        return nn.Dense(NUM_CLASSES, name="classifier")(x.mean(axis=(1, 2)))


class StdConv(nn.Conv):
    """Big Transfer: filters that are standardized within the pass."""

    def param(self, name, *args, **options):
        value = super().param(name, *args, **options)
        if name != "kernel":
            return value
        return (value - value.mean(axis=(0, 1, 2))) / (value.std(axis=(0, 1, 2)) + 1e-5)


class BitUnit(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x):
        y = nn.relu(nn.GroupNorm(2, name="gn1")(x))
        around = StdConv(4 * self.width, (1, 1), use_bias=False, name="conv_proj")(y)
        y = StdConv(self.width, (1, 1), use_bias=False, name="conv1")(y)
        y = StdConv(self.width, (3, 3), name="conv2")(nn.relu(nn.GroupNorm(2, name="gn2")(y)))
        y = StdConv(4 * self.width, (1, 1), name="conv3")(nn.relu(nn.GroupNorm(2, name="gn3")(y)))
        return around + y


class Bit(nn.Module):
    """ResNet v2, norms before filters."""

    @nn.compact
    def __call__(self, x):
        x = StdConv(8, (7, 7), (2, 2), name="conv_root")(x)
        for index in range(2):
            x = BitUnit(4, name=f"block{index + 1}")(x)
        x = nn.relu(nn.GroupNorm(2, name="norm-pre-head")(x)).mean(axis=(1, 2))
        return nn.Dense(NUM_CLASSES, name="conv_head")(x)


class GlobalResponse(nn.Module):
    @nn.compact
    def __call__(self, x):
        scale = self.param("gamma", nn.initializers.zeros, (1, 1, 1, x.shape[-1]))
        shift = self.param("beta", nn.initializers.zeros, (1, 1, 1, x.shape[-1]))
        strength = jnp.sqrt((x**2).sum(axis=(1, 2), keepdims=True))
        return scale * (x * strength / strength.mean(axis=-1, keepdims=True)) + shift + x


class ConvNeXtV2(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.LayerNorm(name="stem_norm")(nn.Conv(8, (4, 4), (4, 4), name="stem_conv")(x))
        for index in range(2):
            y = nn.Conv(8, (7, 7), feature_group_count=8, name=f"b{index}_dwconv")(x)
            y = nn.gelu(nn.Dense(32, name=f"b{index}_pwconv1")(nn.LayerNorm(name=f"n{index}")(y)))
            x = x + nn.Dense(8, name=f"b{index}_pwconv2")(GlobalResponse(name=f"grn{index}")(y))
        return nn.Dense(NUM_CLASSES, name="head")(nn.LayerNorm(name="norm")(x.mean(axis=(1, 2))))


class Swin(nn.Module):
    """Windows of attention with a table of relative positions, and patches that are merged."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (4, 4), (4, 4), name="patch_embed")(x).reshape(x.shape[0], 16, 8)
        y = nn.Dense(24, name="qkv")(nn.LayerNorm(name="norm1")(x))
        q, k, v = jnp.moveaxis(y.reshape(-1, 16, 3, 2, 4), (2, 3), (0, 2))
        table = self.param("relative_position_bias_table", nn.initializers.normal(), (49, 2))
        at = jnp.arange(256).reshape(16, 16) % 49
        weights = nn.softmax(q @ k.swapaxes(-1, -2) + jnp.moveaxis(table[at], -1, 0))
        y = (weights @ v).swapaxes(1, 2).reshape(-1, 16, 8)
        x = x + nn.Dense(8, name="proj")(y)
        y = nn.Dense(32, name="fc1")(nn.LayerNorm(name="norm2")(x))
        x = x + nn.Dense(8, name="fc2")(nn.gelu(y))
        merged = x.reshape(-1, 2, 2, 2, 2, 8).swapaxes(2, 3).reshape(-1, 4, 32)
        x = nn.Dense(16, use_bias=False, name="reduction")(nn.LayerNorm(name="norm3")(merged))
        return nn.Dense(NUM_CLASSES, name="head")(nn.LayerNorm(name="norm")(x).mean(axis=1))


class SegmentationUNet(nn.Module):
    """No class logits: a map of classes, whose last filters are the readout."""

    @nn.compact
    def __call__(self, x):
        skips = []
        for index, width in enumerate((4, 8)):
            x = nn.relu(norm(f"enc{index}_bn")(nn.Conv(width, (3, 3), name=f"enc{index}")(x)))
            skips.append(x)
            x = nn.max_pool(x, (2, 2), (2, 2))
        x = nn.relu(nn.Conv(12, (3, 3), name="bottleneck")(x))
        for index, width in ((1, 8), (0, 4)):
            x = nn.ConvTranspose(width, (2, 2), (2, 2), name=f"up{index}")(x)
            x = jnp.concatenate([skips[index], x], axis=-1)
            x = nn.relu(nn.Conv(width, (3, 3), name=f"dec{index}")(x))
        return nn.Conv(NUM_CLASSES, (1, 1), name="final")(x)


class Nested(nn.Module):
    """Default names, and layers of equal shapes that are made before those they are called on."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(9, name="stem")(x.reshape(x.shape[0], -1))
        x = nn.relu(nn.Dense(9)(nn.relu(nn.Dense(9)(x))))
        return nn.Dense(NUM_CLASSES, name="head")(x)


def linen(module: nn.Module, weights: str, others: dict[str, str] | None = None) -> tuple[Any, ...]:
    shapes = jax.eval_shape(module.init, jax.random.key(0), IMAGES)

    def apply(params, images):
        return module.apply({"params": params}, images, mutable=["batch_stats"])[0]

    return (shapes["params"], apply, weights, {**(others or {}), **VECTORS})


class NnxEncoder(nnx.Module):
    def __init__(self, rngs):
        self.ln_1 = nnx.LayerNorm(8, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)
        self.ln_2 = nnx.LayerNorm(8, rngs=rngs)
        self.mlp = nnx.Sequential(
            nnx.Linear(8, 16, rngs=rngs), nnx.gelu, nnx.Linear(16, 8, rngs=rngs)
        )

    def __call__(self, x):
        x = x + self.attention(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class NnxViT(nnx.Module):
    """The tutorials' vision transformer, with a distillation token beside the class token."""

    def __init__(self, rngs):
        self.patch_embeddings = nnx.Conv(3, 8, (4, 4), (4, 4), rngs=rngs)
        self.cls_token, self.dist_token = (nnx.Param(jnp.zeros((1, 1, 8))) for _ in range(2))
        self.position_embeddings = nnx.Param(jnp.zeros((1, 18, 8)))
        self.encoder = nnx.List([NnxEncoder(rngs) for _ in range(2)])
        self.final_norm = nnx.LayerNorm(8, rngs=rngs)
        self.classifier = nnx.Linear(8, NUM_CLASSES, rngs=rngs)

    def __call__(self, x):
        x = self.patch_embeddings(x).reshape(x.shape[0], 16, 8)
        tokens = [
            jnp.tile(one[...], (x.shape[0], 1, 1)) for one in (self.cls_token, self.dist_token)
        ]
        x = jnp.concatenate([*tokens, x], axis=1) + self.position_embeddings[...]
        for block in self.encoder:
            x = block(x)
        return self.classifier(self.final_norm(x)[:, 0])


class NnxMobileNet(nnx.Module):
    """MobileNet v2's inverted residual, with slopes that are learned."""

    def __init__(self, rngs):
        self.stem = nnx.Conv(3, 8, (3, 3), (2, 2), use_bias=False, rngs=rngs)
        self.stem_bn = nnx.BatchNorm(8, rngs=rngs)
        self.expand = nnx.Conv(8, 24, (1, 1), rngs=rngs)
        self.slope = nnx.PReLU()
        self.dw = nnx.Conv(24, 24, (3, 3), feature_group_count=24, rngs=rngs)
        self.project = nnx.Conv(24, 8, (1, 1), rngs=rngs)
        self.layer_scale = nnx.Param(jnp.ones(8))
        self.fc = nnx.Linear(8, NUM_CLASSES, rngs=rngs)
        self.temperature = nnx.Param(jnp.ones(()))

    def __call__(self, x):
        x = nnx.relu6(self.stem_bn(self.stem(x)))
        x = x + self.layer_scale[...] * self.project(self.dw(self.slope(self.expand(x))))
        return self.fc(x.mean(axis=(1, 2))) / self.temperature[...]


def of_nnx(build: Any, weights: str, others: dict[str, str]) -> tuple[Any, ...]:
    module = nnx.eval_shape(lambda: build(nnx.Rngs(0)))
    graph, params, rest = nnx.split(module, nnx.Param, ...)
    rest = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), rest)
    return (
        params,
        lambda p, x: nnx.merge(graph, p, rest, copy=True)(x),
        weights,
        {**others, **VECTORS},
    )


def lines(*weights: str, end: str = "/kernel") -> str:
    """Names of weights and kinds, hidden where nothing is said."""
    pairs = (weight.partition(" ") for weight in weights)
    return "\n".join(f"{name}{end} {kind or 'hidden'}" for name, _, kind in pairs)


def mb_conv(block: str) -> list[str]:
    kinds = {"expand_conv": "", "depthwise_conv": "depthwise"}
    kinds |= dict.fromkeys(("se_reduce", "se_expand", "project_conv"))
    return [f"{block}/{name} {kind or 'pointwise'}" for name, kind in kinds.items()]


def encoder(block: str) -> list[str]:
    names = "query", "key", "value", "out"
    attention = [f"{block}/attention/{name} attention" for name in names]
    return [*attention, f"{block}/mlp/layers/0", f"{block}/mlp/layers/2"]


NETS = {
    "efficientnet": lambda: linen(
        EfficientNet(),
        lines(
            "stem_conv first",
            *mb_conv("blocks_0"),
            *mb_conv("blocks_1"),
            *("head_conv pointwise", "classifier readout"),
        ),
    ),
    "big transfer": lambda: linen(
        Bit(),
        lines(
            "conv_root first",
            *(
                f"block{index}/{name}"
                for index in (1, 2)
                for name in (
                    *("conv_proj pointwise", "conv1 pointwise"),
                    *("conv2", "conv3 pointwise"),
                )
            ),
            "conv_head readout",
        ),
    ),
    "convnext v2": lambda: linen(
        ConvNeXtV2(),
        lines(
            "stem_conv first",
            *("b0_dwconv depthwise", "b0_pwconv1", "b0_pwconv2"),
            *("b1_dwconv depthwise", "b1_pwconv1", "b1_pwconv2"),
            "head readout",
        ),
    ),
    "swin": lambda: linen(
        Swin(),
        lines(
            *("patch_embed first", "qkv attention", "proj attention", "fc1", "fc2", "reduction"),
            "head readout",
        ),
        {"table": "position"},
    ),
    "u-net that segments": lambda: linen(
        SegmentationUNet(),
        lines("enc0 first", "enc1", "bottleneck", "up1", "dec1", "up0", "dec0", "final readout"),
    ),
    "nested calls": lambda: linen(
        Nested(), lines("stem first", "Dense_1", "Dense_0", "head readout")
    ),
    "nnx vision transformer": lambda: of_nnx(
        NnxViT,
        lines(
            *("patch_embeddings first", *encoder("encoder/0"), *encoder("encoder/1")),
            "classifier readout",
        ),
        {"_token$": "token", "^position_embeddings": "position"},
    ),
    "nnx mobilenet": lambda: of_nnx(
        NnxMobileNet,
        lines(
            *("stem first", "expand pointwise", "dw depthwise", "project pointwise"), "fc readout"
        ),
        {"slope|temperature": "scalar", "layer_scale": "norm"},
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_a_public_net_is_read_right_or_refused(name, roles_are):
    """Catches depth by names or numbers, tables as weights, filters over the wrong axes."""
    roles_are(*NETS[name]())
