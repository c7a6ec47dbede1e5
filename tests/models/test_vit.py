"""Vision transformers against the same encoder of Flax layers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.layouts.layout import layout_of, roles
from noiseproof.models import vit

SHAPE = (8, 6, 3)
WIDTH, HEADS, DEPTH = 8, 2, 2
IMAGES = jnp.asarray(np.random.default_rng(1).random((5, *SHAPE)), jnp.float32)


class FlaxVit(nn.Module):
    """The encoder of the paper in Flax's own layers."""

    has_token: bool

    @nn.compact
    def __call__(self, images):
        tokens = nn.Conv(WIDTH, (3, 3), (3, 3), "SAME", name="patches")(
            jnp.pad(images, ((0, 0), (0, 1), (0, 0), (0, 0)))
        )
        tokens = tokens.reshape(len(images), -1, WIDTH)
        tokens += self.param("position", nn.initializers.zeros, tokens.shape[1:])
        if self.has_token:
            token = self.param("token", nn.initializers.zeros, (WIDTH,))
            token = jnp.broadcast_to(token, (len(images), 1, WIDTH))
            tokens = jnp.concatenate([token, tokens], axis=1)
        for index in range(DEPTH):
            seen = nn.LayerNorm(1e-5, name=f"before_{index}")(tokens)
            tokens += nn.MultiHeadDotProductAttention(HEADS, name=f"attention_{index}")(seen)
            seen = nn.LayerNorm(1e-5, name=f"between_{index}")(tokens)
            hidden = nn.gelu(nn.Dense(4 * WIDTH, name=f"up_{index}")(seen))
            tokens += nn.Dense(WIDTH, name=f"down_{index}")(hidden)
        tokens = nn.LayerNorm(1e-5, name="norm")(tokens)
        pooled = tokens[:, 0] if self.has_token else tokens.mean(axis=1)
        return nn.Dense(10, name="readout")(pooled)


def flax_params(params):
    patches, tables, *blocks, norm, readout = params

    def dense(layer):
        return {"kernel": layer["weight"], "bias": layer["bias"]}

    def norms(layer):
        return {"scale": layer["gain"], "bias": layer["bias"]}

    def heads(layer):
        bias = layer.get("bias", np.zeros(WIDTH))
        return {
            "kernel": layer["weight"].reshape(WIDTH, HEADS, -1),
            "bias": bias.reshape(HEADS, -1),
        }

    found = {**tables, "patches": dense(patches), "norm": norms(norm), "readout": dense(readout)}
    for index, block in enumerate(blocks):
        before, query, key, value, out, between, up, down = block
        found[f"attention_{index}"] = {
            "query": heads(query),
            "key": heads(key),
            "value": heads(value),
            "out": {"kernel": out["weight"].reshape(HEADS, -1, WIDTH), "bias": out["bias"]},
        }
        found |= {f"before_{index}": norms(before), f"between_{index}": norms(between)}
        found |= {f"up_{index}": dense(up), f"down_{index}": dense(down)}
    return {"params": found}


def drawn(model):
    """Params of which none is what it starts as."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: np.float32(0.5 * rng.normal(size=leaf.shape)), shapes)


@pytest.mark.parametrize("pooling", ["mean", "token"])
def test_is_the_encoder_of_flax_layers(pooling):
    """Catches patches or heads in another order, a norm after its branch, another epsilon, GELU or
    scale of scores, and positions on the class token; sides that no patch size divides."""
    model = vit(
        image_shape=SHAPE,
        num_classes=10,
        patch_size=3,
        width=WIDTH,
        depth=DEPTH,
        num_heads=HEADS,
        pooling=pooling,
    )
    params = drawn(model)
    expected = jax.jit(FlaxVit(pooling == "token").apply)(flax_params(params), IMAGES)
    found = jax.jit(model.apply)(params, IMAGES)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "token"])
def test_tensors_are_of_their_kinds(pooling):
    model = vit(image_shape=SHAPE, num_classes=10, width=8, depth=1, num_heads=2, pooling=pooling)
    params = jax.eval_shape(model.init, jax.random.key(0))
    layout = layout_of(params, SHAPE, apply=model.apply)
    patches, tables, block, norm, readout = layout
    assert (patches["weight"].kind, patches["weight"].spatial_shape) == ("first", (4, 4, 3))
    assert tables["position"].kind == "position"
    assert ("token" in tables) == (pooling == "token")
    assert tables.get("token", tables["position"]).kind in ("token", "position")
    kinds = [layer["weight"].kind for layer in block if "weight" in layer]
    assert kinds == ["attention"] * 4 + ["hidden"] * 2
    assert {norm["gain"].kind, block[0]["gain"].kind} == {"norm"}
    assert readout["weight"].kind == "readout"
    vectors = [role.kind for role in roles(layout) if not role.kind.startswith(("att", "hid"))]
    assert vectors.count("bias") == 1 + 3 + 2 + 2 + 1 + 1


def test_branches_end_smaller_the_more_there_are():
    """Catches a net whose tokens grow with depth: 16 branches that add up to one variance."""
    model = vit(image_shape=SHAPE, num_classes=10, width=64, depth=8)
    _, _, block, *_ = jax.jit(model.init)(jax.random.key(0))
    _, query, key, value, out, _, up, down = (layer.get("weight") for layer in block)
    variances = [1 / 64] * 3 + [1 / 64 / 16, 1 / 64, 2 / 256 / 16]
    for weight, variance in zip((query, key, value, out, up, down), variances, strict=True):
        # Four standard errors of a variance of n normal draws, √(2 / n) of it.
        bound = 4 * (2 / weight.size) ** 0.5
        assert float((weight**2).mean()) == pytest.approx(variance, rel=bound)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": 9}, r"patch_size must be 1 to the image's larger side, 8, got 9"),
        ({"patch_size": 0}, r"patch_size must be 1 to .*, got 0"),
        ({"width": 10}, "width must be a multiple of num_heads, got 10 and 4"),
        ({"width": 0}, r"width and num_heads must be positive, got \(0, 4\)"),
        ({"num_heads": 0}, r"width and num_heads must be positive, got \(64, 0\)"),
        ({"depth": 0}, "depth must be 1 to 100, got 0"),
        ({"depth": 101}, "depth must be 1 to 100, got 101"),
        ({"pooling": "max"}, "pooling must be one of mean, token, got 'max'"),
    ],
    ids=str,
)
def test_rejects_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        vit(image_shape=SHAPE, num_classes=10, **options)
