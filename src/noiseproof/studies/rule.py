"""A learned rule as what it is: rates over a run, drawn as curves and written as an equation."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from noiseproof.kinds import KINDS, MATRICES
from noiseproof.messages import short
from noiseproof.optimizers.augmented import TABLE, strengths_at
from noiseproof.optimizers.structured import rates_at
from noiseproof.optimizers.universal import EXPONENT_SCALE, THEORY
from noiseproof.optimizers.weight_space import Strengths
from noiseproof.types import Theta
from noiseproof.zoo import load_learned

POINTS_BETWEEN = 20
"""Points of a curve from one knot to the next."""

LAYERS = ("first filters", "later filters")
ROWS: Mapping[str, tuple[str, Sequence[str]]] = {
    "step": ("s, the step", KINDS),
    "orthogonal": ("a, the share of the orthogonalized momentum", MATRICES),
    "decay": ("d, the decay", KINDS),
    "bands": (
        "b1 to b3, the decays of bands of filters",
        [f"{layer}, {band}" for layer in LAYERS for band in ("fine", "middle", "coarse")],
    ),
    "mean": ("c, the decay of the mean of filters", LAYERS),
}
"""Groups of rates by their names in theta: what each is, and its rows."""

CHANGES = (
    "strength of changes of the image, written as changes of the first layer",
    Strengths._fields,
)
"""The rates of a theta that augments, likewise."""

SIZES = {
    "adam_fans": ("Adam's step", "fan in, fan out", KINDS),
    "orthogonal_fans": ("orthogonalized step", "fan in, fan out", MATRICES),
    "step_sizes": ("step", "run length, depth", KINDS),
    "decay_fans": ("decay", "fan in, fan out", KINDS),
    "decay_sizes": ("decay", "run length, depth", KINDS),
    "pull_sizes": ("pulls on filters", "run length, depth", LAYERS),
}
"""Groups of exponents of `universal`, likewise."""

OF_EPOCHS = {
    "step_epochs": ("step", "1 + epochs", KINDS),
    "decay_epochs": ("decay", "1 + epochs", KINDS),
    "pull_epochs": ("pulls on filters", "1 + epochs", LAYERS),
}
"""Those that it has besides where it counts epochs."""

EQUATION = """\
W <- W - s [D + d W + b1 (W - S W) + b2 (S W - SSS W) + b3 (SSS W - M W) + c M W]
D  = (1 - a) Adam + a Orth for matrices, Adam for all other tensors
Adam: mean gradient m over the root of its mean square (0.9, 0.999); Orth: m with all its singular
values made equal, root mean square 0.5; S: 3x3 mean over a filter, M: its mean over the image;
b and c pull on filters alone; all rates differ by kind of tensor and change over the run.
A rate says nothing where no classifier of meta-training had such a tensor."""


class Explanation(NamedTuple):
    """What one or several thetas of a rule say; it prints as an equation and its numbers.

    Attributes:
        names: Of the thetas, the one that is explained first.
        rule: `structured` or `universal`.
        num_knots: Points of the run between which the logarithm of a rate is linear.
        fractions: Of the run, 0 to 1: where curves have points.
        curves: By group (`step`, `orthogonal`, `decay`, `bands`, `mean`, and `changes` of a theta
            that augments) every row's rate.
        exponents: Of `universal`, by group and row: those of sizes, relative to the base.
    """

    names: tuple[str, ...]
    rule: str
    num_knots: int
    fractions: Float[np.ndarray, " points"]
    curves: dict[str, Float[np.ndarray, "thetas rows points"]]
    exponents: dict[str, Float[np.ndarray, "thetas rows sizes"]]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def at_knots(self, group: str) -> Float[np.ndarray, "thetas rows knots"]:
        """The rates of a group where they were learned."""
        return self.curves[group][..., ::POINTS_BETWEEN]

    def lines(self) -> Iterator[str]:
        """The equation, and a line of numbers for every rate."""
        yield f"{self.names[0]}, of the rule {self.rule}"
        yield from EQUATION.splitlines()
        if len(self.names) > 1:
            yield f"After each number the least and greatest of {len(self.names)} thetas."
        knots = np.linspace(0.0, 1.0, self.num_knots)
        width = 30 if len(self.names) > 1 else 9
        yield f"{'share of the run':34s}" + "".join(f"{knot:>{width}.0%}" for knot in knots)
        for group in self.curves:
            what, rows = rows_of(group)
            yield what
            for row, numbers in zip(rows, np.moveaxis(self.at_knots(group), 1, 0), strict=True):
                yield f"  {row:32s}" + "".join(f"{_spread(n):>{width}s}" for n in numbers.T)
        for group, found in self.exponents.items():
            what, sizes, rows = {**SIZES, **OF_EPOCHS}[group]
            yield f"{what}: exponents of {sizes}, relative to the base"
            for row, numbers in zip(rows, np.moveaxis(found, 1, 0), strict=True):
                yield f"  {row:32s}" + "".join(f"{_spread(n):>{width}s}" for n in numbers.T)


def _spread(numbers: Float[np.ndarray, " thetas"]) -> str:
    own = f"{numbers[0]:.3g}"
    return f"{own} ({numbers.min():.3g} to {numbers.max():.3g})" if numbers.size > 1 else own


def explain(*thetas: Any) -> Explanation:
    """Says what a learned rule is, by its rates over the run.

    Args:
        thetas: Names or places as `noiseproof.load` takes them, what `meta_train` returned, or
            weights of `structured` or `universal`; of several the first is explained, and the
            others are its spread.

    Raises:
        ValueError: There is none, one is of another rule, or they differ in rule or knots.
    """
    if not thetas:
        raise ValueError("explain needs a theta or the name of one.")
    named = [_weights(theta, place) for place, theta in enumerate(thetas, 1)]
    rules = {rule_of(theta, name) for name, theta in named}
    shapes = {np.shape(theta["step"]) for _, theta in named}
    if len(rules) > 1 or len(shapes) > 1 or len({frozenset(theta) for _, theta in named}) > 1:
        raise ValueError(
            f"The thetas must be of one rule with as many knots, got {short(sorted(rules))} with "
            f"{short(sorted(shape[-1] for shape in shapes))}; and all must augment, or none, and"
            " all must count epochs, or none."
        )
    num_knots = shapes.pop()[-1]
    fractions = np.linspace(0.0, 1.0, (num_knots - 1) * POINTS_BETWEEN + 1)
    found = [curves_of(theta, fractions) for _, theta in named]
    rule = rules.pop()
    powers = [exponents_of(theta) for _, theta in named] if rule == "universal" else [{}]
    return Explanation(
        tuple(name for name, _ in named),
        rule,
        num_knots,
        fractions,
        {group: np.stack([one[group] for one in found]) for group in found[0]},
        {group: np.stack([one[group] for one in powers]) for group in powers[0]},
    )


def _weights(theta: Any, place: int) -> tuple[str, Theta]:
    """The name of a theta, and its weights."""
    theta = getattr(theta, "theta", theta)  # of what `meta_train` and `load_learned` return
    if isinstance(theta, Mapping):
        return f"theta {place}", dict(theta)
    path = Path(theta)
    name = "/".join(path.parts[-2:]) if path.exists() else str(theta)
    return name, load_learned(theta).theta


def rule_of(theta: Mapping[str, Any], name: str) -> str:
    """The rule that weights belong to, by their names and shapes.

    Raises:
        ValueError: It is none that has rates.
    """
    tables = set(theta) - {TABLE}
    if tables - {*OF_EPOCHS} == {*ROWS, *SIZES}:
        return "universal"
    if tables == {*ROWS}:
        return "structured"
    raise ValueError(
        f"Known by their rates are thetas of structured and universal, but {name} holds "
        f"{short(sorted(theta))}."
    )


def rows_of(group: str) -> tuple[str, Sequence[str]]:
    """What a group of rates is, and its rows."""
    return CHANGES if group == TABLE else ROWS[group]


def curves_of(
    theta: Theta, fractions: Float[np.ndarray, " points"]
) -> dict[str, Float[np.ndarray, "rows points"]]:
    """Every rate at parts of the run, rows as in `ROWS` and `CHANGES`."""
    parts = jax.tree.map(jnp.asarray, theta), jnp.asarray(fractions)
    rates = jax.vmap(rates_at, in_axes=(None, 0))(*parts)
    flat = {name: np.asarray(rate).reshape(fractions.size, -1).T for name, rate in rates.items()}
    curves = {group: flat[group][: len(rows)] for group, (_, rows) in ROWS.items()}
    if TABLE not in theta:
        return curves
    strengths = jax.vmap(strengths_at, in_axes=(None, 0))(parts[0][TABLE], parts[1])
    return curves | {TABLE: np.stack(strengths)}


def exponents_of(theta: Theta) -> dict[str, Float[np.ndarray, "rows sizes"]]:
    """The exponents of `universal`, theory and what is learned together."""
    found = {}
    known = {group: one for group, one in {**SIZES, **OF_EPOCHS}.items() if group in theta}
    for group, (_, _, rows) in known.items():
        theory = np.array(THEORY.get(group.removesuffix("_fans"), 0.0))
        found[group] = EXPONENT_SCALE * np.asarray(theta[group])[: len(rows)] + theory
    return found
