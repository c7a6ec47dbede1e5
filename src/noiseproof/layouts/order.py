"""The order of layers, as far as names, numbers and shapes decide it."""

import math
import re
from collections.abc import Iterable, Sequence
from itertools import takewhile

from noiseproof.layouts.conventions import REMEDY, Axes
from noiseproof.layouts.tensors import Tensor, title


def in_order(
    weights: Sequence[Tensor],
    axes: dict[int, Axes],
    may_be_first: set[int],
    num_classes: int | None,
) -> list[Tensor]:
    """The weights from input to readout.

    Raises:
        ValueError: Their order is not decided.
    """

    def units(weight: Tensor) -> int:
        return math.prod(weight.shape[axis] for axis in axes[weight.leaf].outputs)

    may_be_last = {weight.leaf for weight in weights if units(weight) == num_classes}
    ordered = by_names(list(weights), 0, may_be_first, may_be_last)
    if isinstance(ordered, list):
        return ordered
    chained = by_sizes(weights, axes, may_be_first)
    if chained:
        return chained
    hint = "" if num_classes else ", or give num_classes="
    raise ValueError(
        f"Names and shapes do not say where {title(ordered)} comes among the layers;"
        f" {REMEDY}{hint}."
    )


def by_names(
    weights: list[Tensor], level: int, may_be_first: set[int], may_be_last: set[int]
) -> list[Tensor] | Tensor:
    """The weights below one node of the tree in order, or one whose place is not decided."""
    if len(weights) == 1:
        return weights
    children: dict[str, list[Tensor]] = {}
    for weight in weights:
        children.setdefault(weight.path[level], []).append(weight)
    if weights[0].in_sequence[level]:
        names = list(children)
    else:
        names = siblings_in_order(children, may_be_first, may_be_last)
        if names is None:
            return undecided(children, may_be_first)
    ordered: list[Tensor] = []
    for name in names:
        below = by_names(children[name], level + 1, may_be_first, may_be_last)
        if isinstance(below, Tensor):
            return below
        ordered += below
    return ordered


def siblings_in_order(
    children: dict[str, list[Tensor]], may_be_first: set[int], may_be_last: set[int]
) -> list[str] | None:
    """The names of siblings in order, or None where that is not decided.

    Those of one name are ordered by their numbers. Of others only the two ends are known, by their
    shapes, so that all between must be of one name.
    """
    names = sorted(children, key=lambda name: numbered(name)[1])
    if len(stems(names)) == 1:
        return names
    first = holding(children, may_be_first)
    last = [name for name in holding(children, may_be_last) if name not in first]
    first, last = (ends if len(ends) == 1 else [] for ends in (first, last))
    between = [name for name in names if name not in first + last]
    ordered = [*first, *between, *last]
    if len(stems(between)) > 1 or not first + last:
        return None
    by_stem = sorted(ordered, key=lambda name: numbered(name)[0])
    by_number = sorted(by_stem, key=numbered)
    return ordered if by_stem == by_number else None


def stems(names: Iterable[str]) -> set[str]:
    """The names without their numbers."""
    return {numbered(name)[0] for name in names}


def holding(children: dict[str, list[Tensor]], leaves: set[int]) -> list[str]:
    """The children that hold one of some leaves."""
    return [name for name, below in children.items() if any(t.leaf in leaves for t in below)]


def undecided(children: dict[str, list[Tensor]], may_be_first: set[int]) -> Tensor:
    """A weight below one of the siblings whose order is open."""
    names = [name for name in children if name not in holding(children, may_be_first)]
    return children[(names or list(children))[0]][0]


def numbered(name: str) -> tuple[str, tuple[int, ...]]:
    """A name without its numbers, and the numbers; one without comes before its siblings."""
    stem = re.sub(r"\d+", "#", name)
    numbers = tuple(int(number) for number in re.findall(r"\d+", name))
    if stem.endswith("#"):
        return stem.removesuffix("#").removesuffix("_"), numbers
    return stem, (*numbers, -1)


def by_sizes(
    weights: Sequence[Tensor], axes: dict[int, Axes], may_be_first: set[int]
) -> list[Tensor] | None:
    """The chain in which each layer takes what the one before yields, if there is one way only."""

    def size(weight: Tensor, of_outputs: bool) -> int:
        found = axes[weight.leaf]
        if of_outputs:
            return math.prod(weight.shape[axis] for axis in found.outputs)
        counted = found.inputs[-1:] if found.points else found.inputs
        return math.prod(weight.shape[axis] for axis in counted)

    def follows(weight: Tensor, before: Tensor) -> bool:
        taken, given = size(weight, False), size(before, True)
        is_flattened = axes[before.leaf].points and not axes[weight.leaf].points
        return taken == given or bool(is_flattened and taken % given == 0)

    left = [weight for weight in weights if weight.leaf not in may_be_first]
    chain = [weight for weight in weights if weight.leaf in may_be_first]
    if len(chain) != 1:
        return None
    while left:
        following = [weight for weight in left if follows(weight, chain[-1])]
        if len(following) != 1:
            return None
        chain.append(following[0])
        left.remove(following[0])
    return chain


def place_of(tensor: Tensor, tensors: Sequence[Tensor], ordered: Sequence[Tensor]) -> int:
    """The place among the weights of that to whose layer a vector belongs.

    It is the only one that shares most of the tree; in a list the last before it; among siblings
    as many as there are norms, that of its number.

    Raises:
        ValueError: Several weights may be meant.
    """
    shares = [shared(tensor.path, weight.path) for weight in ordered]
    level = max(shares)
    kin = [place for place, length in enumerate(shares) if length == level]
    if len(kin) == 1:
        return kin[0]
    if tensor.in_sequence[level]:
        index = int(tensor.path[level])
        before = [place for place in kin if int(ordered[place].path[level]) < index]
        return before[-1] if before else kin[0]
    stem, numbers = numbered(tensor.path[level])
    same = count(stem, (t.path[level] for t in tensors if shared(tensor.path, t.path) >= level))
    names = [ordered[place].path[level] for place in kin]
    fitting = [
        place
        for place, name in zip(kin, names, strict=True)
        if numbered(name)[1] == numbers and count(numbered(name)[0], names) == same
    ]
    if len({ordered[place].path[level] for place in fitting}) != 1:
        raise ValueError(f"Names do not say to which layer {title(tensor)} belongs; {REMEDY}.")
    return fitting[-1]


def shared(path: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Length of the common beginning of two paths."""
    pairs = zip(path, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def count(stem: str, names: Iterable[str]) -> int:
    """How many different names have that stem."""
    return sum(numbered(name)[0] == stem for name in set(names))
