"""What a forward pass does with each tensor, read off its jaxpr.

The pass is traced once, on shapes alone, and its operations are followed in their order. Every
value knows which tensors it was made from and where their axes stand, whether it depends on the
image, and which weights it passed last. Where a value made from tensors meets one that depends on
the image, the tensors are used (see `meetings`).
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, NamedTuple, SupportsIndex

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

from noiseproof.layouts.meetings import (
    BATCH,
    CONVOLUTION,
    FEATURE,
    HEIGHT,
    WIDTH,
    Use,
    Value,
    mapped,
    matters,
    meeting,
    merged,
    product,
    shape_out,
)
from noiseproof.layouts.views import Dims, reshaped, resized, whole
from noiseproof.messages import short
from noiseproof.types import Params

NESTED = ("jaxpr", "call_jaxpr", "fun_jaxpr")
"""Parameters under which an operation holds another jaxpr."""

OWN_CONVOLUTION = "convolve_patches"
"""The name of a jitted function that convolves images with filters, as `models` has one."""

CUT = ("slice", "pad", "dynamic_slice", "rev", "reduce_window_max", "reduce_window_sum", "cumsum")
REDUCED = ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "argmax", "argmin")


class Traced(NamedTuple):
    """A forward pass.

    Attributes:
        uses: What it did with each tensor, in order.
        last: The weights that yield the logits.
    """

    uses: list[Use]
    last: frozenset[int]


def trace(
    apply: Callable[[Params, Any], Any], params: Params, image_shape: tuple[int, int, int]
) -> Traced:
    """Follow `apply` on two images of `image_shape`.

    Raises:
        ValueError: It fails, or returns anything but one array.
    """
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
    try:
        closed, logits = jax.make_jaxpr(apply, return_shape=True)(shapes, images)
    # A forward pass of one's own fails in whatever way.
    except Exception as error:
        raise ValueError(
            f"apply fails on images of shape {images.shape}: {first_line(error)}; give a function"
            " (params, images) -> logits."
        ) from error
    if not getattr(logits, "shape", ()):
        raise ValueError(
            f"apply must return the logits as one array, got {type(logits).__name__}; give a"
            " function (params, images) -> logits."
        )
    values = [Value({at: whole(leaf.shape)}) for at, leaf in enumerate(jax.tree.leaves(shapes))]
    values.append(Value(image=whole(images.shape, (BATCH, HEIGHT, WIDTH, FEATURE)), is_raw=True))
    uses: list[Use] = []
    (result,) = follow(closed.jaxpr, values, uses)
    return Traced(uses, result.after)


def first_line(error: Exception) -> str:
    """What an error says, cut to a line."""
    return short((str(error).splitlines() or [type(error).__name__])[0])


def follow(jaxpr: Jaxpr, inputs: Sequence[Value], uses: list[Use]) -> list[Value]:
    """The values that a jaxpr yields; what it does with tensors is added to `uses`."""
    known: dict[Var, Value] = dict(zip(jaxpr.invars, inputs, strict=True))

    def read(atom: Any) -> Value:
        return Value() if isinstance(atom, Literal) else known.get(atom, Value())

    for equation in jaxpr.eqns:
        values = [read(atom) for atom in equation.invars]
        known.update(zip(equation.outvars, results(equation, values, uses), strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def results(equation: JaxprEqn, values: list[Value], uses: list[Use]) -> list[Value]:
    """The values that one operation yields."""
    name, num_results = equation.primitive.name, len(equation.outvars)
    if not any(matters(value) for value in values):
        return [Value()] * num_results
    if name in LOOPS:
        return LOOPS[name](equation, values, uses)
    if equation.params.get("name") == OWN_CONVOLUTION:
        return [product(equation, values, CONVOLUTION, uses)]
    inner = inner_jaxpr(equation)
    if inner is not None:
        return follow(inner, values, uses)
    if name in MOVES and not any(matters(value) for value in values[1:]):
        return [mapped(values[0], partial(MOVES[name], equation))] * num_results
    return [meeting(equation, values, uses)] * num_results


def inner_jaxpr(equation: JaxprEqn) -> Jaxpr | None:
    """The jaxpr that an operation calls on its own operands, if it does."""
    for name in NESTED:
        inner = opened(equation.params.get(name))
        if isinstance(inner, Jaxpr) and len(inner.invars) == len(equation.invars):
            return inner
    return None


def opened(jaxpr: Any) -> Any:
    """A jaxpr without its constants, of which nothing is to be known."""
    return jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr


def broadcast(equation: JaxprEqn, dims: Dims) -> Dims:
    """Dimensions after a broadcast; new ones hold nothing."""
    placed: list[Any] = [()] * len(shape_out(equation))
    for place, dim in zip(equation.params["broadcast_dimensions"], dims, strict=True):
        placed[place] = dim
    return tuple(placed)


def without(axes: Collection[SupportsIndex], dims: Dims) -> Dims:
    """Dimensions without those at `axes`."""
    return tuple(dim for at, dim in enumerate(dims) if at not in axes)


def gathered(equation: JaxprEqn, dims: Dims) -> Dims:
    """Dimensions after entries at constant places were taken."""
    numbers = equation.params["dimension_numbers"]
    shape = shape_out(equation)
    dropped = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    kept = iter([dim for at, dim in enumerate(dims) if at not in dropped])
    indexed = iter([dims[at] for at in numbers.start_index_map if at in dropped])
    sources = [next(kept if at in numbers.offset_dims else indexed, ()) for at in range(len(shape))]
    return resized(tuple(sources), shape)


MOVES: dict[str, Callable[[JaxprEqn, Dims], Dims]] = {
    "transpose": lambda equation, dims: tuple(dims[at] for at in equation.params["permutation"]),
    "reshape": lambda equation, dims: reshaped(dims, shape_out(equation)),
    "squeeze": lambda equation, dims: without(equation.params["dimensions"], dims),
    "broadcast_in_dim": broadcast,
    "gather": gathered,
    **dict.fromkeys(CUT, lambda equation, dims: resized(dims, shape_out(equation))),
    **dict.fromkeys(REDUCED, lambda equation, dims: without(equation.params["axes"], dims)),
}
"""Operations that move the axes of their first operand, and how."""


def settled(
    jaxpr: Jaxpr, fixed: list[Value], carried: list[Value], rest: list[Value], uses: list[Use]
) -> list[Value]:
    """What the body of a loop yields once more rounds change nothing that it carries."""
    for _ in range(len(carried) + 1):
        after = follow(jaxpr, [*fixed, *carried, *rest], [])[: len(carried)]
        grown = [merged([before, new]) for before, new in zip(carried, after, strict=True)]
        if grown == carried:
            break
        carried = grown
    return follow(jaxpr, [*fixed, *carried, *rest], uses)


def scan(equation: JaxprEqn, values: list[Value], uses: list[Use]) -> list[Value]:
    """Follow the body of a `scan`, whose layers may be stacked along a tensor's first axis."""
    num_fixed, num_carried = equation.params["num_consts"], equation.params["num_carry"]
    split = num_fixed + num_carried
    slices = [mapped(value, lambda dims: dims[1:]) for value in values[split:]]
    body = opened(equation.params["jaxpr"])
    found = settled(body, values[:num_fixed], values[num_fixed:split], slices, uses)
    stacked = [mapped(value, lambda dims: ((), *dims)) for value in found[num_carried:]]
    return [*found[:num_carried], *stacked]


def while_loop(equation: JaxprEqn, values: list[Value], uses: list[Use]) -> list[Value]:
    """Follow the body of a `while`."""
    skipped = equation.params["cond_nconsts"]
    split = skipped + equation.params["body_nconsts"]
    body = opened(equation.params["body_jaxpr"])
    return settled(body, values[skipped:split], values[split:], [], uses)


def cond(equation: JaxprEqn, values: list[Value], uses: list[Use]) -> list[Value]:
    """Follow all branches of a `cond`."""
    branches = [follow(opened(branch), values[1:], uses) for branch in equation.params["branches"]]
    return [merged(list(ways)) for ways in zip(*branches, strict=True)]


LOOPS: dict[str, Callable[[JaxprEqn, list[Value], list[Use]], list[Value]]] = {
    "scan": scan,
    "while": while_loop,
    "cond": cond,
}
"""Operations that run other jaxprs on parts of their operands."""
