"""The order of layers, as far as names, numbers and shapes decide it."""

import math
import re
from collections.abc import Iterable, Sequence
from itertools import takewhile

from noiseproof.layouts.conventions import BIAS_WORDS, REMEDY, Axes
from noiseproof.layouts.tensors import Tensor, own_words, title


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

    may_be_last = {weight.leaf for weight in weights if num_units(weight, axes) == num_classes}
    ordered = by_names(list(weights), 0, axes, may_be_first, may_be_last)
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


def num_units(weight: Tensor, axes: dict[int, Axes]) -> int:
    """Units that a weight yields."""
    return math.prod(weight.shape[axis] for axis in axes[weight.leaf].outputs)


def num_taken(weight: Tensor, axes: dict[int, Axes]) -> int:
    """Channels or units that a weight takes."""
    found = axes[weight.leaf]
    counted = found.inputs[-1:] if found.points else found.inputs
    return math.prod(weight.shape[axis] for axis in counted)


def follows(weight: Tensor, before: Tensor, axes: dict[int, Axes]) -> bool:
    """Whether a weight can take what another yields, or that of each place of it."""
    taken, given = num_taken(weight, axes), num_units(before, axes)
    is_flattened = axes[before.leaf].points and not axes[weight.leaf].points
    return taken == given or bool(is_flattened and taken % given == 0)


def by_names(
    weights: list[Tensor],
    level: int,
    axes: dict[int, Axes],
    may_be_first: set[int],
    may_be_last: set[int],
) -> list[Tensor] | Tensor:
    """The weights below one node of the tree in order, or one whose place is not decided."""
    if len(weights) == 1:
        return weights
    children: dict[str, list[Tensor]] = {}
    for weight in weights:
        children.setdefault(weight.path[level], []).append(weight)
    is_sequence = weights[0].in_sequence[level] or all(name.isdigit() for name in children)
    if is_sequence:
        names = sorted(children, key=int)
    else:
        names = siblings_in_order(children, may_be_first, may_be_last)
        if names is None:
            return undecided(children, may_be_first)
    ordered: list[Tensor] = []
    for name in names:
        below = by_names(children[name], level + 1, axes, may_be_first, may_be_last)
        if isinstance(below, Tensor):
            return below
        if not is_sequence and ordered and not follows(below[0], ordered[-1], axes):
            return below[0]
        ordered += below
    return ordered


def siblings_in_order(
    children: dict[str, list[Tensor]], may_be_first: set[int], may_be_last: set[int]
) -> list[str] | None:
    """The names of siblings in order, or None where that is not decided.

    The two ends are known by their shapes. Of several between, all must be of one name, and those
    are ordered by their numbers; not so where a library counted them, which does it in the order in
    which they are made, and `Dense(9)(Dense(9)(x))` makes first what it uses last.
    """
    names = sorted(children, key=lambda name: numbered(name)[1])
    first = holding(children, may_be_first)
    last = [name for name in holding(children, may_be_last) if name not in first]
    first, last = (ends if len(ends) == 1 else [] for ends in (first, last))
    between = [name for name in names if name not in first + last]
    ordered = [*first, *between, *last]
    if len(between) < 2:
        return ordered
    of_one_name = [name for name in names if stems([name]) == stems(between)]
    if not of_one_name or is_counted(of_one_name):
        return None
    by_stem = sorted(ordered, key=lambda name: numbered(name)[0])
    by_number = sorted(by_stem, key=numbered)
    return ordered if by_stem == by_number else None


def is_counted(names: Sequence[str]) -> bool:
    """Whether names of one stem are as Linen (`Dense_0`) or Haiku (`linear`, `linear_1`) counts."""
    in_linen = all(re.fullmatch(r"[A-Z]\w*_\d+", name) for name in names)
    in_haiku = {names[0]} | {f"{names[0]}_{at}" for at in range(1, len(names))} == set(names)
    return in_linen or in_haiku


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

    left = [weight for weight in weights if weight.leaf not in may_be_first]
    chain = [weight for weight in weights if weight.leaf in may_be_first]
    if len(chain) != 1:
        return None
    while left:
        following = [weight for weight in left if follows(weight, chain[-1], axes)]
        if len(following) != 1:
            return None
        chain.append(following[0])
        left.remove(following[0])
    return chain


def place_of(
    tensor: Tensor, tensors: Sequence[Tensor], ordered: Sequence[Tensor], axes: dict[int, Axes]
) -> int:
    """The place among the weights of the last one before a vector.

    In a list it is the last before it. Else it is the only one beside it in a module, or that of
    its number for a bias; or, if that yields as many units as the vector has and takes others, the
    only one that shares most of the tree, or among siblings as many as there are norms that of its
    number. A norm that fits what a weight takes and what it yields may come before it or after.

    Raises:
        ValueError: Several weights may be meant.
    """
    shares = [shared(tensor.path, weight.path) for weight in ordered]
    level = max(shares)
    kin = [place for place, length in enumerate(shares) if length == level]
    names = [ordered[place].path[level] for place in kin]
    stem, numbers = numbered(tensor.path[level])
    beside = [*names, tensor.path[level]]
    if tensor.in_sequence[level] or (stems(beside) == {stem} and not is_counted(sorted(beside))):
        before = [place for place in kin if numbered(ordered[place].path[level])[1] < numbers]
        return before[-1] if before else max(kin[0] - 1, 0)
    if len(kin) == 1 and level + 1 == len(tensor.path) == len(ordered[kin[0]].path):
        return kin[0]
    if len(kin) > 1:
        same = count(stem, (t.path[level] for t in tensors if shared(tensor.path, t.path) >= level))
        kin = [
            place
            for place, name in zip(kin, names, strict=True)
            if numbered(name)[1] == numbers and count(numbered(name)[0], names) == same
        ]
    layers = {ordered[place].path[level] for place in kin}
    if len(layers) == 1:
        weight, size = ordered[kin[-1]], math.prod(tensor.shape)
        is_own = level + 1 == len(tensor.path) == len(weight.path) and (
            own_words(tensor) & BIAS_WORDS
        )
        if is_own or num_units(weight, axes) == size != num_taken(weight, axes):
            return kin[-1]
    raise ValueError(f"Names do not say to which layer {title(tensor)} belongs; {REMEDY}.")


def shared(path: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Length of the common beginning of two paths."""
    pairs = zip(path, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def count(stem: str, names: Iterable[str]) -> int:
    """How many different names have that stem."""
    return sum(numbered(name)[0] == stem for name in set(names))
