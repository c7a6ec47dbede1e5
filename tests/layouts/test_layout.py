import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof.layouts.layout import fit_layout, layout_of, roles
from noiseproof.models import convnet, mlp
from noiseproof.types import TensorRole

IMAGE_SHAPE = (4, 4, 1)


def zeros(*shape: int) -> jax.Array:
    return jnp.zeros(shape)


def dense_params(num_layers: int, name: str = "layers") -> dict:
    layer = {"kernel": zeros(16, 16), "bias": zeros(16)}
    return {"params": {f"{name}_{index}": layer for index in range(num_layers)}}


def test_reads_a_perceptron():
    params = [{"bias": zeros(8), "weight": zeros(16, 8)}, {"weight": zeros(8, 3)}]
    assert layout_of(params, IMAGE_SHAPE) == [
        {"bias": TensorRole("bias", (), 0.0), "weight": TensorRole("first", (4, 4, 1), 0.0)},
        {"weight": TensorRole("readout", (), 1.0)},
    ]


def test_numbers_in_names_are_counted():
    """Catches alphabetical order, in which layers_10 is the third and layers_9 the last."""
    layout = layout_of(dense_params(12), IMAGE_SHAPE)["params"]
    assert layout["layers_0"]["kernel"].kind == "first"
    assert layout["layers_11"]["kernel"].kind == "readout"
    for index in range(12):
        assert layout[f"layers_{index}"]["kernel"].depth_fraction == pytest.approx(index / 11)
        assert layout[f"layers_{index}"]["bias"].depth_fraction == pytest.approx(index / 11)


def test_numbers_that_a_library_gave_are_no_order():
    """Catches `Dense(16)(Dense(16)(x))`, whose outer layer is made first and used last."""
    alike = {
        "net/linear": {"w": zeros(16, 5)},
        "net/linear_1": {"w": zeros(5, 5)},
        "net/linear_2": {"w": zeros(5, 5)},
        "net/linear_3": {"w": zeros(5, 3)},
    }
    for params in (dense_params(3, "Dense"), alike):
        with pytest.raises(ValueError, match=r"do not say where .* write layout_of\(.*apply="):
            layout_of(params, IMAGE_SHAPE)
    nested = {"Dense_0": {"kernel": zeros(5, 3)}, "Dense_1": {"kernel": zeros(16, 5)}}
    layout = layout_of(nested, IMAGE_SHAPE)
    assert [layout[name]["kernel"].kind for name in nested] == ["readout", "first"]


def test_reads_unnumbered_first_names_and_slashes():
    params = {
        "net/linear": {"w": zeros(16, 5), "b": zeros(5)},
        "net/linear_1": {"w": zeros(5, 6), "b": zeros(6)},
        "net/linear_2": {"w": zeros(6, 3), "b": zeros(3)},
    }
    layout = layout_of(params, IMAGE_SHAPE)
    assert [layer["w"].kind for layer in layout.values()] == ["first", "hidden", "readout"]
    assert [layer["b"].depth_fraction for layer in layout.values()] == [0.0, 0.5, 1.0]


def test_vectors_beside_their_weights():
    """Catches a bias that takes the depth of its neighbor in a flat dict."""
    params = {"w1": zeros(16, 5), "b1": zeros(5), "w2": zeros(5, 5), "b2": zeros(5)}
    layout = layout_of([params, {"weight": zeros(5, 2), "shift": zeros(2)}], IMAGE_SHAPE)
    assert layout[0]["w1"] == TensorRole("first", (4, 4, 1), 0.0)
    assert layout[0]["w2"] == TensorRole("hidden", (), 0.5)
    assert layout[0]["b1"] == TensorRole("bias", (), 0.0)
    assert layout[0]["b2"] == TensorRole("bias", (), 0.5)
    assert layout[1]["shift"] == TensorRole("bias", (), 1.0)


def test_a_norm_of_its_own_goes_by_its_number_where_sizes_agree():
    """Catches modules sorted by class name, and a norm before its weight taken for one after it."""

    def params(*sizes: int) -> dict:
        pairs = enumerate(zip((1, *sizes), sizes, strict=False))
        filters = {f"conv{index}": {"kernel": zeros(3, 3, *pair)} for index, pair in pairs}
        norms = {f"norm{index}": {"scale": zeros(size)} for index, size in enumerate(sizes)}
        return filters | norms | {"head": {"kernel": zeros(sizes[-1], 2)}}

    layout = layout_of(params(5, 6, 7), IMAGE_SHAPE, num_classes=2)
    depths = [layout[f"norm{index}"]["scale"].depth_fraction for index in range(3)]
    assert depths == pytest.approx([0, 1 / 3, 2 / 3])
    with pytest.raises(ValueError, match="to which layer 'norm2/scale'"):
        layout_of(params(5, 6, 6), IMAGE_SHAPE, num_classes=2)


def test_a_norm_without_number_follows_the_weight_before_it():
    weight, norm = {"w": zeros(16, 16)}, {"scale": zeros(16)}
    layout = layout_of([weight, norm, weight, norm, weight], IMAGE_SHAPE)
    assert [layout[index]["scale"].depth_fraction for index in (1, 3)] == [0.0, 0.5]


def test_filters_carry_their_spatial_shape():
    params = [{"weight": zeros(3, 3, 1, 8)}, {"weight": zeros(3, 5, 8, 4)}, {"weight": zeros(9, 2)}]
    assert [role.spatial_shape for role in roles(layout_of(params, IMAGE_SHAPE))] == [
        (3, 3, 1),
        (3, 5, 8),
        (),
    ]


def test_norms_are_told_from_biases():
    norm = {"LayerNorm_0": {"scale": zeros(8), "bias": zeros(8)}}
    names = {"kernel": zeros(16, 8), "gamma": zeros(8), "gain_0": zeros(8), "offset": zeros(8)}
    layout = layout_of({"Block_0": names | norm}, IMAGE_SHAPE)["Block_0"]
    assert layout["LayerNorm_0"]["scale"].kind == "norm"
    assert layout["LayerNorm_0"]["bias"].kind == "bias"
    assert [layout[name].kind for name in ("gamma", "gain_0", "offset")] == ["norm", "norm", "bias"]


def test_one_weight_is_the_first():
    assert layout_of({"w": zeros(16, 3)}, IMAGE_SHAPE) == {"w": TensorRole("first", (4, 4, 1), 0.0)}


def test_shapes_alone_are_enough():
    params = dense_params(3)
    assert layout_of(jax.eval_shape(lambda: params), IMAGE_SHAPE) == layout_of(params, IMAGE_SHAPE)


def test_roles_come_in_leaf_order():
    params = dense_params(11)
    shapes = [leaf.ndim for leaf in jax.tree.leaves(params)]
    kinds = [role.kind for role in roles(layout_of(params, IMAGE_SHAPE))]
    assert [kind == "bias" for kind in kinds] == [rank == 1 for rank in shapes]


def test_rejects_what_it_cannot_read():
    with pytest.raises(ValueError, match="at least one weight of two or more axes, got none"):
        layout_of({"bias": zeros(3)}, IMAGE_SHAPE)
    with pytest.raises(ValueError, match=r"take the 16 values .* got '0/w' of shape \(15, 3\)"):
        layout_of([{"w": zeros(15, 3)}], IMAGE_SHAPE)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "params must hold at least one weight, got none; give the weights"),
        (None, "params must hold at least one weight, got none"),
        ([{"w": zeros(0, 3)}], "params must hold at least one weight, got none"),
        ([{"w": zeros(16, 3), "b": zeros(0)}], r"'0/b' must hold at least one number, got shape"),
        (np.zeros((16, 3), int), "'params' must be a tensor of floats, got 'int64'; give the"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("without_shape_checks")
def test_rejects_what_is_no_classifier(params, message):
    with pytest.raises(ValueError, match=message):
        layout_of(params, IMAGE_SHAPE)


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize("shape", [(4, 4), (4, 0, 1), (4.0, 4, 1), 16, None], ids=str)
def test_rejects_what_is_no_shape_of_images(shape):
    with pytest.raises(ValueError, match=r"image_shape must be \(height, width, channels\), all"):
        layout_of([{"w": zeros(16, 3)}], shape)


@pytest.mark.usefixtures("without_shape_checks")
def test_a_forward_pass_that_fails_is_one_line():
    with pytest.raises(
        ValueError, match=r"apply fails on images of shape \(2, .*; give a function"
    ):
        layout_of([{"w": zeros(16, 3)}], IMAGE_SHAPE, apply=lambda p, x: x @ p[0]["w"])
    with pytest.raises(ValueError, match=r"apply fails on .*takes 1 posit"):
        layout_of([{"w": zeros(16, 3)}], IMAGE_SHAPE, apply=lambda p: p)


def test_a_layout_fits_params_of_its_structure():
    params = dense_params(2)
    layout = layout_of(params, IMAGE_SHAPE)
    fit_layout(layout, params)
    with pytest.raises(ValueError, match="they have no tensor 'params/layers_2/bias'"):
        fit_layout(layout_of(dense_params(3), IMAGE_SHAPE), params)
    with pytest.raises(ValueError, match="has no role for 'params/layers_1/bias'"):
        fit_layout(layout_of(dense_params(1), IMAGE_SHAPE), params)
    with pytest.raises(ValueError, match="must hold a TensorRole for each tensor, got 'first'"):
        fit_layout(jax.tree.map(lambda _: "first", params), params)


@pytest.mark.parametrize(
    ("build", "options", "first"),
    [
        (mlp, {"hidden_sizes": (5, 6), "norm": "layer"}, (4, 6, 3)),
        (convnet, {"channels": (4, 8, 4), "norm": "group"}, (3, 3, 3)),
        (convnet, {"channels": (3, 3), "norm": None}, (3, 3, 3)),
    ],
)
def test_own_classifiers_keep_the_layout_of_shipped_optimizers(build, options, first):
    """Catches a role that theta was not meta-trained on; the last has filters of 3 × 3 × 3 × 3."""
    model = build(image_shape=(4, 6, 3), num_classes=3, **options)
    params = jax.eval_shape(model.init, jax.random.key(0))
    layout = layout_of(params, (4, 6, 3))
    last = len(params) - 1
    for place, (layer, found) in enumerate(zip(params, layout, strict=True)):
        kind = "first" if place == 0 else "readout" if place == last else "hidden"
        shape = layer["weight"].shape
        spatial_shape = first if place == 0 else shape[:-1] if len(shape) > 2 else ()
        assert found["weight"] == TensorRole(kind, spatial_shape, place / last)
        assert found["bias"] == TensorRole("bias", (), place / last)
        assert found.get("gain", TensorRole("norm", (), place / last)).kind == "norm"
    assert layout_of(params, (4, 6, 3), apply=model.apply) == layout


def test_a_dense_layer_on_channels_first_pixels_is_unfolded():
    """Catches planes of pixels that are cut across the channels."""
    params = {"w": zeros(5, 2 * 3 * 4), "v": zeros(7, 5)}

    def apply(params, images):
        pixels = jnp.moveaxis(images, -1, 1).reshape(len(images), -1)
        return (pixels @ params["w"].T) @ params["v"].T

    layout = layout_of(params, (3, 4, 2), apply=apply)
    assert layout["w"] == TensorRole("first", (3, 4, 2), 0.0, (2, 1), (0,), (5, 2, 12))
    assert layout["v"] == TensorRole("readout", (), 1.0, (1,), (0,))


def test_axes_are_taken_as_optax_takes_them():
    """As a tree, as a prefix, as a function; without them nobody knows a tensor of three axes."""
    params = [{"kernel": zeros(4, 4, 1, 6)}, {"kernel": zeros(2, 3, 6)}, {"kernel": zeros(3, 6)}]
    with pytest.raises(ValueError, match=r"axes of '1/kernel' of shape \(2, 3, 6\) are not told"):
        layout_of(params, IMAGE_SHAPE)
    numbers = optax.contrib.MuonDimensionNumbers
    tree = [{"kernel": numbers((0, 1, 2), 3)}, {"kernel": numbers(-1, (0, 1))}, numbers(1, 0)]
    layout = layout_of(params, IMAGE_SHAPE, convention=tree)
    assert layout == layout_of(params, IMAGE_SHAPE, convention=lambda _: tree)
    assert layout[1]["kernel"] == TensorRole("hidden", (), 0.5, (2,), (0, 1))
    assert layout[2]["kernel"] == TensorRole("readout", (), 1.0, (1,), (0,))
    with pytest.raises(ValueError, match="convention must be the name of one, or a Muon"):
        layout_of(params, IMAGE_SHAPE, convention=tree[:2])
    with pytest.raises(ValueError, match=r"convention must be one of .*, got 'keras'"):
        layout_of(params, IMAGE_SHAPE, convention="keras")
    for wrong, words in ((numbers(2, 0), r"\(2, 0\) are none of"), (numbers(1, -1), "named twice")):
        with pytest.raises(ValueError, match=words):
            layout_of(params, IMAGE_SHAPE, convention=[*tree[:2], wrong])


def test_the_name_of_a_library_says_which_axes_are_inputs():
    """Catches a convention that is checked and then not used."""
    square = [{"weight": zeros(16, 16)}, {"weight": zeros(3, 16)}]
    layout = layout_of(square, IMAGE_SHAPE, convention="equinox")
    assert [(role.inputs, role.outputs) for role in roles(layout)] == [((1,), (0,))] * 2
    with pytest.raises(ValueError, match="take the 16 values"):
        layout_of(square[::-1], IMAGE_SHAPE, convention="haiku")


def test_sizes_that_do_not_fit_refuse_an_order_by_numbers():
    """Catches numbers that count something else than depth, and logits that nobody yields."""
    shapes = [(16, 5), (7, 6), (5, 7), (5, 2)]
    params = {f"layers_{at}": {"w": zeros(*shape)} for at, shape in enumerate(shapes)}
    with pytest.raises(ValueError, match="do not say where 'layers_1/w' of shape"):
        layout_of(params, IMAGE_SHAPE)
    with pytest.raises(ValueError, match="The last weight must yield 4 logits, got '0/w'"):
        layout_of([{"w": zeros(16, 3)}], IMAGE_SHAPE, num_classes=4)


def test_numbers_slopes_and_layer_scales_are_gains_with_a_notice():
    params = [{"w": zeros(16, 3), "temperature": zeros(), "slopes": zeros(3)}]
    with pytest.warns(UserWarning, match=r"'0/slopes' of shape \(3,\) tells no role"):
        layout = layout_of(params, IMAGE_SHAPE)
    assert [layout[0][name].kind for name in ("temperature", "slopes")] == ["scalar", "norm"]


def test_lists_of_weights_and_biases_have_no_names():
    layout = layout_of([(zeros(16, 5), zeros(5)), (), (zeros(5, 3), zeros(3))], IMAGE_SHAPE)
    kinds = [role.kind for role in roles(layout)]
    assert kinds == ["first", "bias", "readout", "bias"]
    rows = layout_of([(zeros(16, 5), zeros(1, 5)), (zeros(5, 3), zeros(1, 3))], IMAGE_SHAPE)
    assert [role.kind for role in roles(rows)] == kinds
    with pytest.raises(ValueError, match=r"Nothing says what '1/0' of shape \(5,\) is; write"):
        layout_of([zeros(16, 5), (zeros(5), zeros(5)), zeros(5, 3)], IMAGE_SHAPE)


def test_a_chain_of_sizes_decides_where_names_do_not():
    """Catches the alphabet, and a guess where two chains fit."""
    shapes = {"conv": (3, 3, 1, 8), "dense": (32, 20), "output": (20, 3)}
    params = {name: {"kernel": zeros(*shape)} for name, shape in shapes.items()}
    layout = layout_of(params, IMAGE_SHAPE)
    assert [layout[name]["kernel"].kind for name in shapes] == ["first", "hidden", "readout"]
    params |= {name: {"kernel": zeros(20, 20)} for name in ("left", "right")}
    with pytest.raises(ValueError, match=r"do not say where '(left|dense|right|output)/kernel'"):
        layout_of(params, IMAGE_SHAPE)


def test_what_the_forward_pass_leaves_open_is_said_and_taken_for_a_gain():
    """Catches an error where a notice is enough, and a guess at a matrix."""
    params = {"w": zeros(16, 3), "lost": zeros(3), "folded": zeros(16, 3)}

    def apply(params, images):
        pixels = images.reshape(len(images), -1)
        return pixels @ params["w"] + pixels @ params["folded"].reshape(2, 24)[:, :3].repeat(8, 0)

    with pytest.warns(UserWarning, match="is taken for a gain, since apply") as notices:
        layout = layout_of(params, IMAGE_SHAPE, apply=apply)
    assert {name: role.kind for name, role in layout.items()} == {
        "w": "first",
        "lost": "unknown",
        "folded": "unknown",
    }
    said = sorted(str(notice.message) for notice in notices)
    assert said[0].startswith("'folded' of shape (16, 3) is taken for a gain, since apply lays it")
    assert said[1].startswith("'lost' of shape (3,) is taken for a gain, since apply does not use")


def test_apply_must_return_logits():
    with pytest.raises(ValueError, match="apply must return the logits as one array, got tuple"):
        layout_of({"w": zeros(16, 3)}, IMAGE_SHAPE, apply=lambda p, x: (x, p))


def test_a_state_dict_of_torch_is_read_by_the_numbers_of_its_sequences():
    """Catches places in sequences that are sorted as texts, and norms between their filters."""
    shapes = {
        0: (8, 3, 3, 3),
        1: (8,),
        3: (8, 8, 3, 3),
        4: (8,),
        10: (8, 1, 3, 3),
        11: (9, 8, 1, 1),
    }
    params = {f"features.{at}.weight": zeros(*shape) for at, shape in shapes.items()}
    params |= {"features.1.bias": zeros(8), "classifier.1.weight": zeros(7, 9)}
    layout = layout_of(params, (16, 16, 3))
    places = {0: 0, 1: 0, 3: 1, 4: 1, 10: 2, 11: 3}
    kinds = dict(
        zip(shapes, ("first", "norm", "hidden", "norm", "depthwise", "pointwise"), strict=True)
    )
    for at, place in places.items():
        role = layout[f"features.{at}.weight"]
        assert (role.kind, role.depth_fraction) == (kinds[at], pytest.approx(place / 4))
    assert layout["features.1.bias"] == TensorRole("bias", (), 0.0)
    assert layout["classifier.1.weight"] == TensorRole("readout", (), 1.0, (1,), (0,))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("class_w", "hidden"),
        ("query_kernel", "hidden"),
        ("mean_w", "is not said"),
        ("scale_w", "is not said"),
        ("bias", "is not said"),
        ("pos", "position"),
        ("class_token", "token"),
    ],
)
def test_a_matrix_is_no_vector_by_its_name(name, kind):
    """Catches a weight that is never trained, as its name has the word of a statistic in it."""
    params = [{"w": zeros(16, 5)}, {name: zeros(5, 5)}, {"w": zeros(5, 3)}]
    if kind == "is not said":
        with pytest.raises(ValueError, match=f"over what axes '1/{name}' .* lies; write layout_of"):
            layout_of(params, IMAGE_SHAPE)
    else:
        assert layout_of(params, IMAGE_SHAPE)[1][name].kind == kind


@pytest.mark.parametrize(
    ("role", "words"),
    [
        ({"spatial_shape": (9, 9, 3)}, "a spatial_shape of .* with 27 entries, got"),
        ({"spatial_shape": (27,)}, "of .height, width, channels. with 27 entries"),
        ({"inputs": (9,)}, "must name axes of .*, each once, got inputs .9,."),
        ({"inputs": (-1,), "outputs": (3,)}, "must name axes"),
        ({"inputs": (0, 1), "outputs": (1,)}, "must name axes"),
        ({"unfolded": (-1,)}, "unfolds shape .* to .-1,., which differs"),
        ({"unfolded": (27, 9)}, "unfolds shape"),
    ],
)
def test_a_role_by_hand_that_does_not_fit_its_tensor_is_refused(role, words) -> None:
    """Catches what would else be an error of a reshape that names no tensor, or no number."""
    layout = {"w": TensorRole("first", (3, 3, 3), 0.0)._replace(**role)}
    with pytest.raises(ValueError, match=f"The role of 'w' .*{words}"):
        fit_layout(layout, {"w": jnp.zeros((3, 3, 3, 8))})
