"""Where the tensors of a classifier meet what depends on the image, and what they become there.

A product or a convolution makes them weights, a sum makes them biases or position tables, a product
entry by entry makes them gains, a concatenation makes them tokens, and to be looked up by the image
makes them an embedding.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from jax.extend.core import JaxprEqn

from noiseproof.layouts.views import (
    Dims,
    Factor,
    axes_of,
    joined,
    one,
    resized,
    unknown,
)

BATCH, HEIGHT, WIDTH, FEATURE = range(4)
"""Names of the axes of what depends on the image; channels are features."""


class Use(NamedTuple):
    """One use of a tensor.

    Attributes:
        leaf: Which tensor.
        how: `"weight"`, `"add"`, `"multiply"`, `"token"` or `"lookup"`; `"attend"` of the weights
            whose products are multiplied by those of others.
        after: The weights that were passed last.
        inputs: Factors of its axes that are summed over.
        outputs: Factors of its axes that become features.
        summed_shape: Sizes of what is summed over, of a filter (height, width, channels).
        is_filter: Whether a convolution uses it.
        is_depthwise: Whether each of its filters sees one channel of many.
        over_space: Whether it differs from place to place.
        image: Factors of the image that meet `inputs`, where no weight was passed; else None.
    """

    leaf: int
    how: str
    after: frozenset[int] = frozenset()
    inputs: tuple[Factor, ...] = ()
    outputs: tuple[Factor, ...] = ()
    summed_shape: tuple[int, ...] = ()
    is_filter: bool = False
    is_depthwise: bool = False
    over_space: bool = False
    image: tuple[Factor, ...] | None = None


class Value(NamedTuple):
    """What is known of a value.

    Attributes:
        views: The tensors that it was made from alone, and where their axes stand.
        image: Where the axes of the image stand, if it depends on the image; else None.
        is_raw: Whether it is the image, which no weight has met yet.
        after: The weights that it passed last.
    """

    views: Mapping[int, Dims] = MappingProxyType({})
    image: Dims | None = None
    is_raw: bool = False
    after: frozenset[int] = frozenset()


class Contraction(NamedTuple):
    """Which dimensions of the two operands of a product do what.

    Attributes:
        summed: Dimensions that are summed over, of each operand; of filters in the order height,
            width, channels.
        free: Those of each that the result keeps and the other operand has not.
        places: For each dimension of the result, the (operand, dimension)s that it comes from.
        is_filter: Whether it is a convolution.
    """

    summed: tuple[tuple[int, ...], tuple[int, ...]]
    free: tuple[tuple[int, ...], tuple[int, ...]]
    places: tuple[tuple[tuple[int, int], ...], ...]
    is_filter: bool = False


CONVOLUTION = Contraction(
    ((1, 2, 3), (0, 1, 2)), ((0,), (3,)), (((0, 0),), ((0, 1),), ((0, 2),), ((1, 3),)), True
)
"""Of images with filters, channels last, whatever it is computed by."""


def shape_in(equation: JaxprEqn, index: int) -> tuple[int, ...]:
    """Shape of an operand."""
    return tuple(getattr(equation.invars[index].aval, "shape", ()))


def shape_out(equation: JaxprEqn) -> tuple[int, ...]:
    """Shape of the first result."""
    return tuple(getattr(equation.outvars[0].aval, "shape", ()))


def matters(value: Value) -> bool:
    """Whether a value was made from a tensor or the image, and not from constants alone."""
    return bool(value.views) or value.image is not None


def meeting(equation: JaxprEqn, values: list[Value], uses: list[Use]) -> Value:
    """The value of an operation with several operands; what it uses is added to `uses`."""
    name = equation.primitive.name
    if name == "dot_general":
        return product(equation, values, dot_contraction(equation), uses)
    if name == "conv_general_dilated":
        return product(equation, values, filter_contraction(equation), uses)
    shape = shape_out(equation)
    # Nothing is known where the ranks differ.
    fitted = [
        mapped(value, lambda dims: dims if len(dims) == len(shape) else unknown(shape))
        for value in values
    ]
    result = merged(fitted)
    if result.image is None:
        return result
    how = {"concatenate": "token", "gather": "lookup", "dynamic_slice": "lookup"}.get(name)
    how = how or ("add" if name in ("add", "sub", "add_any") else "multiply")
    for value in fitted:
        for leaf, dims in value.views.items():
            uses.append(Use(leaf, how, result.after, over_space=covers_space(dims, result.image)))
    return result._replace(views={})


def mapped(value: Value, move: Callable[[Dims], Dims]) -> Value:
    """A value whose axes were moved, and nothing else."""
    views = {leaf: move(dims) for leaf, dims in value.views.items()}
    return value._replace(views=views, image=None if value.image is None else move(value.image))


def covers_space(dims: Dims, image: Dims) -> bool:
    """Whether a tensor has entries of its own for several features and for several places."""
    known = [{factor.axis for factor in seen} for own, seen in zip(dims, image, strict=True) if own]
    return len(known) > 1 and not all(axes == {FEATURE} for axes in known)


def merged(values: Sequence[Value]) -> Value:
    """What is known of a value that was made from several, entry by entry."""
    views: dict[int, Dims] = {}
    for value in values:
        for leaf, dims in value.views.items():
            views[leaf] = joined(views[leaf], dims) if leaf in views else dims
    images = [value.image for value in values if value.image is not None]
    if not images:
        return Value(views)
    image = images[0]
    for other in images[1:]:
        image = joined(image, other)
    return Value(
        views,
        image,
        all(value.is_raw for value in values if value.image is not None),
        frozenset().union(*(value.after for value in values)),
    )


def product(equation: JaxprEqn, values: list[Value], parts: Contraction, uses: list[Use]) -> Value:
    """The value of a product or a convolution."""
    for side, (data, tensor) in enumerate((values, values[::-1])):
        if tensor.image is None and tensor.views and is_data(data, tensor):
            if data.image is None:
                uses.extend(Use(leaf, "token") for leaf in data.views)
                data = Value(image=unknown(shape_in(equation, side)))
            return used_as_weight(equation, data, tensor, side, parts, uses)
    return linear(equation, values, parts, uses)


def is_data(value: Value, tensor: Value) -> bool:
    """Whether a value goes through a weight: if it depends on the image, or is a learned vector."""
    if value.image is not None:
        return True
    return bool(value.views) and not is_matrix(value) and is_matrix(tensor)


def is_matrix(value: Value) -> bool:
    """Whether one of the tensors that a value was made from has two axes or more."""
    return any(len(axes_of(dims)) > 1 for dims in value.views.values())


def used_as_weight(
    equation: JaxprEqn,
    data: Value,
    tensor: Value,
    side: int,
    parts: Contraction,
    uses: list[Use],
) -> Value:
    """The value of data times tensors, the data on `side`."""
    is_depthwise = (
        equation.params.get("feature_group_count", 1) > 1
        and shape_in(equation, 1)[parts.summed[1][-1]] == 1
    )
    pixels = factors_at(parts.summed[side], data.image or ()) if data.is_raw else None
    summed_shape = tuple(shape_in(equation, 1 - side)[at] for at in parts.summed[1 - side])
    weights = {
        leaf
        for leaf, dims in tensor.views.items()
        if len(axes_of(dims)) > 1 or not is_matrix(tensor)
    }
    for leaf, dims in tensor.views.items():
        if leaf in weights:
            inputs = factors_at(parts.summed[1 - side], dims)
            outputs = factors_at(parts.free[1 - side], dims)
            use = Use(leaf, "weight", data.after, inputs, outputs, summed_shape)
            uses.append(
                use._replace(is_filter=parts.is_filter, is_depthwise=is_depthwise, image=pixels)
            )
        else:
            uses.append(Use(leaf, "multiply", frozenset(weights)))  # a gain of filters
    features = tuple(one(FEATURE, size) for size in shape_in(equation, 1 - side))
    image = data.image or ()
    dims = (image, features) if side == 0 else (features, image)
    return Value(image=placed(equation, parts, dims), after=frozenset(weights))


def factors_at(places: Sequence[int], dims: Dims) -> tuple[Factor, ...]:
    """The factors of some dimensions, one after the other."""
    return tuple(factor for at in places for factor in dims[at])


def linear(equation: JaxprEqn, values: list[Value], parts: Contraction, uses: list[Use]) -> Value:
    """The value of a product of two values of one kind, or of one with constants."""
    left, right = values
    if left.image is not None and right.image is not None:
        image = placed(equation, parts, (left.image, right.image))
        after = left.after | right.after
        uses.extend(Use(leaf, "attend") for leaf in after)
        return Value(image=image, after=after)
    nothing = [((),) * len(shape_in(equation, side)) for side in (0, 1)]
    alone = (
        mapped(left, lambda dims: placed(equation, parts, (dims, nothing[1]))),
        mapped(right, lambda dims: placed(equation, parts, (nothing[0], dims))),
    )
    return merged(alone)


def placed(equation: JaxprEqn, parts: Contraction, pair: tuple[Dims, Dims]) -> Dims:
    """The dimensions of a product, from those of its operands."""
    dims = tuple(
        max((pair[operand][at] for operand, at in sources), key=len) for sources in parts.places
    )
    return resized(dims, shape_out(equation))


def dot_contraction(equation: JaxprEqn) -> Contraction:
    """What the dimensions of a `dot_general` do."""
    summed, batch = equation.params["dimension_numbers"]
    free = tuple(
        tuple(
            at
            for at in range(len(shape_in(equation, side)))
            if at not in summed[side] and at not in batch[side]
        )
        for side in (0, 1)
    )
    both = tuple(((0, left), (1, right)) for left, right in zip(*batch, strict=True))
    alone = tuple(((side, at),) for side in (0, 1) for at in free[side])
    return Contraction((tuple(summed[0]), tuple(summed[1])), (free[0], free[1]), both + alone)


def filter_contraction(equation: JaxprEqn) -> Contraction:
    """What the dimensions of a `conv_general_dilated` do."""
    (batch, channels, *points), (units, inputs, *filter_points), out = equation.params[
        "dimension_numbers"
    ]
    places: list[tuple[tuple[int, int], ...]] = [()] * len(out)
    for place, source in zip(
        out, ((0, batch), (1, units), *((0, at) for at in points)), strict=True
    ):
        places[place] = (source,)
    summed = ((*points, channels), (*filter_points, inputs))
    return Contraction(summed, ((batch,), (units,)), tuple(places), True)
