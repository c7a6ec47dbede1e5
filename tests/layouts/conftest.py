"""What is stated of a network by hand, against what is read of it."""

import re
from typing import Any, NamedTuple

import pytest

from noiseproof.layouts.layout import layout_of, roles
from noiseproof.layouts.tensors import tensors_of

IMAGE_SHAPE = (16, 16, 3)
NUM_CLASSES = 7
MATRICES = ("first", "hidden", "pointwise", "depthwise", "readout")
OUTPUTS_FIRST = {2: ((1,), (0,)), 4: ((2, 3, 1), (0,))}


class Net(NamedTuple):
    """Attributes: `params`, shapes; `apply`; `weights`, one a line in the order in which the image
    meets them, and its kind; `others`, kinds by patterns of names, the first that fits;
    `puts_outputs_first`, whether weights are (outputs, inputs, ...)."""

    params: Any
    apply: Any
    weights: str
    others: dict[str, str]
    puts_outputs_first: bool = False


def check_net(net: Net) -> None:
    """The forward pass says all roles as stated, and names alone say the same or are refused."""
    layout = layout_of(net.params, IMAGE_SHAPE, apply=net.apply)
    tensors = {"/".join(tensor.path): tensor for tensor in tensors_of(net.params)}
    found = dict(zip(tensors, roles(layout), strict=True))
    wanted = dict(line.split() for line in net.weights.strip().splitlines())
    depths = {name: place / (len(wanted) - 1) for place, name in enumerate(wanted)}
    for name in tensors:
        patterns = (kind for pattern, kind in net.others.items() if re.search(pattern, name))
        wanted.setdefault(name, next(patterns, "(not stated)"))
    assert {name: role.kind for name, role in found.items()} == {n: wanted[n] for n in tensors}
    for name, depth in depths.items():
        assert found[name].depth_fraction == pytest.approx(depth), name
        for own in ("bias", "b", "gain"):
            vector = re.sub(r"(kernel|weight|w)$", own, name)
            assert found.get(vector, found[name]).depth_fraction == pytest.approx(depth), vector
        check_axes(net, name, tensors[name].shape, found[name])
    for num_classes in (None, NUM_CLASSES):
        named = by_names(net.params, num_classes)
        assert named == roles(layout) or ("write layout_of(" in named and len(named) < 300)


def by_names(params: Any, num_classes: int | None) -> Any:
    """The roles that names and shapes say, or the line that refuses them."""
    try:
        return roles(layout_of(params, IMAGE_SHAPE, num_classes=num_classes))
    except ValueError as refusal:
        return str(refusal)


def check_axes(net: Net, name: str, shape: tuple[int, ...], role: Any) -> None:
    """Inputs and outputs of a weight are those of its library, and so are the points of a filter.

    Not so of what is laid out otherwise: transposed filters, heads of attention, patches of pixels.
    """
    axes = ((), ())
    if net.puts_outputs_first:
        axes = OUTPUTS_FIRST[len(shape)]
        axes = (tuple(axis for axis in axes[0] if shape[axis] > 1), axes[1])
    if "transpose" not in name and "attention" not in name and not role.unfolded:
        assert (role.inputs, role.outputs) == axes, name
    points = shape[2:] if net.puts_outputs_first else shape[:2]
    if len(shape) == 4 and role.kind in ("first", "depthwise"):
        assert role.spatial_shape[:2] == points, name
    assert not (role.kind == "pointwise" and role.spatial_shape), name


@pytest.fixture
def roles_are() -> Any:
    """`check_net` of the attributes of a `Net`."""
    return lambda *net: check_net(Net(*net))
