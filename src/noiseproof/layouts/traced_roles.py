"""Roles of tensors from what a forward pass did with them."""

import math
import warnings
from collections.abc import Sequence

from noiseproof.layouts.conventions import STATISTIC_WORDS
from noiseproof.layouts.meetings import FEATURE, HEIGHT, WIDTH, Use
from noiseproof.layouts.tensors import Tensor, own_words, title
from noiseproof.layouts.tracing import Traced
from noiseproof.layouts.views import UNKNOWN, Factor
from noiseproof.types import TensorRole

IMAGE_AXES = (HEIGHT, WIDTH, FEATURE)


def traced_roles(tensors: Sequence[Tensor], traced: Traced) -> list[TensorRole]:
    """The role of each tensor.

    Raises:
        ValueError: None is a weight.
    """
    uses: dict[int, list[Use]] = {tensor.leaf: [] for tensor in tensors}
    for use in traced.uses:
        uses[use.leaf].append(use)
    weights = list(dict.fromkeys(use.leaf for use in traced.uses if use.how == "weight"))
    if not weights:
        raise ValueError("params must hold at least one weight that meets the image, got none.")
    places = {leaf: place for place, leaf in enumerate(weights)}
    attended = frozenset(use.leaf for use in traced.uses if use.how == "attend")
    return [role(tensor, uses[tensor.leaf], places, traced.last, attended) for tensor in tensors]


def role(
    tensor: Tensor,
    uses: Sequence[Use],
    places: dict[int, int],
    last: frozenset[int],
    attended: frozenset[int],
) -> TensorRole:
    """The role of one tensor; with a notice that of an unknown one, where it can not be read."""
    if not uses and own_words(tensor) & STATISTIC_WORDS:
        return TensorRole("statistic", (), 0.0)
    if not uses:
        why = "apply does not use it; leave it out of the params, or use it"
        return unknown_role(tensor, why)
    depth = 1.0 / max(len(places) - 1, 1)
    if tensor.leaf not in places:
        place = max((places[leaf] for use in uses[:1] for leaf in use.after), default=0)
        return TensorRole(vector_kind(tensor, uses), (), place * depth)
    use = next(use for use in uses if use.how == "weight")
    found = weight_role(tensor, use, is_last=tensor.leaf in last) or unknown_role(
        tensor,
        "apply lays it out in a way that can not be followed; put its TensorRole into the layout",
    )
    attends = tensor.leaf in attended or (use.after and use.after <= attended)
    if attends and found.kind in ("hidden", "pointwise"):
        found = found._replace(kind="attention")
    return found._replace(depth_fraction=places[tensor.leaf] * depth)


def unknown_role(tensor: Tensor, why: str) -> TensorRole:
    """The role of a tensor of which nothing is known, with a notice that says why."""
    warnings.warn(f"{title(tensor)} is taken for a gain, since {why}.", stacklevel=2)
    return TensorRole("unknown", (), 0.0)


def vector_kind(tensor: Tensor, uses: Sequence[Use]) -> str:
    """What a tensor is that is no weight."""
    if own_words(tensor) & STATISTIC_WORDS:
        return "statistic"
    if not tensor.shape:
        return "scalar"
    hows = {use.how for use in uses}
    if "lookup" in hows:
        return "embedding"
    if any(use.how == "add" and use.over_space for use in uses):
        return "position"
    if "token" in hows:
        return "token"
    return "bias" if uses[0].how == "add" else "norm"


def weight_role(tensor: Tensor, use: Use, *, is_last: bool) -> TensorRole | None:
    """The role of a weight, at depth 0; None if it was laid out in a way not to be followed."""
    if any(factor.axis == UNKNOWN for factor in (*use.inputs, *use.outputs)):
        return None
    kind = "readout" if is_last else "hidden"
    spatial_shape = filter_shape(tensor, use)
    if use.image is not None:
        return first_role(tensor, use)
    if spatial_shape and math.prod(spatial_shape[:-1]) == 1:
        kind, spatial_shape = "readout" if is_last else "pointwise", ()
    elif use.is_depthwise:
        kind = "depthwise"
    return with_axes(tensor, TensorRole(kind, spatial_shape, 0.0), use.inputs, use.outputs)


def filter_shape(tensor: Tensor, use: Use) -> tuple[int, ...]:
    """(height, width, channels) of a filter, () of what is none."""
    if use.is_filter:
        return use.summed_shape
    outputs = {factor.axis for factor in use.outputs}
    others = [size for axis, size in enumerate(tensor.shape) if axis not in outputs]
    # A filter that was laid out as a matrix, for a product with patches of the image.
    is_patches = len(others) == 3 and math.prod(others) == math.prod(use.summed_shape)
    return tuple(others) if is_patches and len(use.summed_shape) == 1 else ()


def first_role(tensor: Tensor, use: Use) -> TensorRole | None:
    """The role of a weight that meets the image, whose rows are pixels."""
    spatial_shape = filter_shape(tensor, use)
    if spatial_shape:
        return with_axes(tensor, TensorRole("first", spatial_shape, 0.0), use.inputs, use.outputs)
    pixels, image = list(use.inputs), use.image or ()
    if len(pixels) == 1 and math.prod(factor.size for factor in image) == pixels[0].size:
        pixels = parts(pixels[0], [factor.size for factor in image])
    known = [factor.size for factor in pixels] == [factor.size for factor in image]
    if not known or not {factor.axis for factor in image} <= set(IMAGE_AXES):
        size = math.prod(factor.size for factor in use.inputs)
        return with_axes(tensor, TensorRole("first", (1, 1, size), 0.0), use.inputs, use.outputs)
    pairs = sorted(zip(image, pixels, strict=True), key=lambda pair: pair[0].axis)
    height, width, channels = (
        math.prod(factor.size for factor, _ in pairs if factor.axis == axis) for axis in IMAGE_AXES
    )
    rows = tuple(pixel for _, pixel in pairs)
    return with_axes(tensor, TensorRole("first", (height, width, channels), 0.0), rows, use.outputs)


def parts(factor: Factor, sizes: Sequence[int]) -> list[Factor]:
    """A factor split into ones of `sizes`."""
    return [
        Factor(factor.axis, size, factor.stride * math.prod(sizes[at + 1 :]))
        for at, size in enumerate(sizes)
    ]


def with_axes(
    tensor: Tensor, role: TensorRole, inputs: Sequence[Factor], outputs: Sequence[Factor]
) -> TensorRole | None:
    """A role with the axes of its tensor, none where they are as the package's own; None where they
    can not be followed."""
    inputs, outputs = fused(inputs), fused(outputs)
    every = sorted({*inputs, *outputs}, key=lambda factor: (factor.axis, -factor.stride))
    if any(factor.size != tensor.shape[factor.axis] for factor in every):
        return unfolded(tensor, role, inputs, outputs)
    found = [tuple(factor.axis for factor in group) for group in (inputs, outputs)]
    return (
        role if is_plain(tensor.shape, *found) else role._replace(inputs=found[0], outputs=found[1])
    )


def fused(factors: Sequence[Factor]) -> list[Factor]:
    """Factors of which neighbors that make up one are one."""
    result: list[Factor] = []
    for factor in factors:
        before = result[-1] if result else None
        if before and before.axis == factor.axis and before.stride == factor.size * factor.stride:
            result[-1] = Factor(factor.axis, before.size * factor.size, factor.stride)
        else:
            result.append(factor)
    return result


def is_plain(shape: Sequence[int], inputs: tuple[int, ...], outputs: tuple[int, ...]) -> bool:
    """Whether the last axis is that of the outputs, and all before are of the inputs in order."""
    counted = tuple(axis for axis, size in enumerate(shape) if size > 1)
    last = len(shape) - 1
    return inputs + outputs == counted and outputs == ((last,) if shape[last] > 1 else ())


def unfolded(
    tensor: Tensor, role: TensorRole, inputs: Sequence[Factor], outputs: Sequence[Factor]
) -> TensorRole | None:
    """A role of a tensor one of whose axes holds several; None where parts are left out."""
    every: list[Factor] = []
    for axis, size in enumerate(tensor.shape):
        own = sorted(
            (factor for factor in (*inputs, *outputs) if factor.axis == axis),
            key=lambda factor: -factor.stride,
        )
        own = own or [Factor(axis, size)]
        if math.prod(factor.size for factor in own) != size:
            return None
        every += own
    return role._replace(
        inputs=tuple(every.index(factor) for factor in inputs),
        outputs=tuple(every.index(factor) for factor in outputs),
        unfolded=tuple(factor.size for factor in every),
    )
