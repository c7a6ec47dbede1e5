"""The hand-designed rivals: their recipes, the ranges of their knobs, and what each contains.

Ranges are wide, and a search widens those on whose edge its best point lies. A rival that adds to
another contains it: the other's points are points of its own, at which it makes the same steps, so
that it can be no worse where its search begins from them.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from noiseproof.rivals import recipes
from noiseproof.rivals.directions import SGD_RATIO
from noiseproof.rivals.knobs import Knobs, LogUniform, Switch, Values
from noiseproof.types import Layout, Recipe

Points: TypeAlias = Mapping[str, Callable[[Values], Values]]
"""By the name of a rival: its values as those of another."""

MANY_KNOBS = 5
"""Rivals with more knobs are searched twice as long."""

NUM_TRIALS, NUM_RUNS = 128, 4
"""Of a perceptron's rival; half as many of a classifier with filters, which costs ten times."""


class Rival(NamedTuple):
    """A hand-designed way to train a classifier.

    Attributes:
        knobs: Range of each knob.
        recipe: `(values, num_steps, layout) -> Recipe`; values may be traced.
        contains: Rivals whose points it trains at alike: `values -> values`.
        resembles: Rivals whose best points are worth a trial of its own.
    """

    knobs: Knobs
    recipe: Callable[[Values, int, Layout], Recipe]
    contains: Points = MappingProxyType({})
    resembles: Points = MappingProxyType({})


def usual_num_trials(rival: Rival, *, has_filters: bool) -> int:
    """Points of a search where nothing else is said: 128, twice as many for many knobs, half as
    many for classifiers with filters.
    """
    doubled = 2 if len(rival.knobs) > MANY_KNOBS else 1
    return doubled * NUM_TRIALS // (2 if has_filters else 1)


def usual_num_runs(*, has_filters: bool) -> int:
    """Runs of a trial where nothing else is said: 4, half as many for classifiers with filters."""
    return NUM_RUNS // (2 if has_filters else 1)


def same(**added: float) -> Callable[[Values], Values]:
    """A contained rival's values, with what is added to it at these."""
    return lambda values: {**values, **added}


def on_adam(**added: float) -> Points:
    """Adam and SGD with momentum as points of what adds to either."""

    def from_sgd(values: Values) -> Values:
        rate = values["learning_rate"] / SGD_RATIO
        return {**values, "learning_rate": rate, "sgd": 1.0, **added}

    return {"adam": same(sgd=0.0, one_minus_momentum=0.1, **added), "sgd": from_sgd}


def as_decays(**added: float) -> Callable[[Values], Values]:
    """A weight decay as one of weights and one of biases."""

    def decays(values: Values) -> Values:
        rest = {name: value for name, value in values.items() if name != "weight_decay"}
        decay = values["weight_decay"]
        return {**rest, "weights_decay": decay, "biases_decay": decay, **added}

    return decays


def off(knob: LogUniform, chance_of_none: float = 0.1) -> LogUniform:
    """The knob with places that turn it off."""
    return knob._replace(chance_of_none=chance_of_none)


def maybe(knob: LogUniform) -> LogUniform:
    """The knob, turned off in half of all places."""
    return off(knob, 0.5)


RATE: Knobs = {"learning_rate": LogUniform(1e-4, 1e-1), "cosine": Switch()}
MOMENTUM = LogUniform(1e-2, 1.0, most=1.0)
BASE: Knobs = {**RATE, "sgd": Switch(), "one_minus_momentum": MOMENTUM}
DECAYED: Knobs = {**RATE, "weight_decay": off(LogUniform(1e-3, 1e2))}
RHO = off(LogUniform(1e-3, 3.0))
ASAM_RHO = off(LogUniform(1e-2, 30.0))
GROWTH = LogUniform(0.03, 30.0)
NOISE_STD = off(LogUniform(3e-3, 1.0))
LABEL_SMOOTHING = off(LogUniform(1e-3, 0.9, most=0.95))
DROPOUT = off(LogUniform(1e-2, 0.9, most=0.95))
AVERAGE_SHARE = off(LogUniform(1e-3, 1.0))
DECAYS: Knobs = {
    "weights_decay": off(LogUniform(1e-3, 1e1)),
    "roughness_decay": off(LogUniform(1e-2, 1e2)),
    "means_decay": off(LogUniform(3e-2, 1e2)),
    "biases_decay": off(LogUniform(1e-2, 1e2)),
}
NO_DECAYS = dict.fromkeys(DECAYS, 0.0)
SHAPING_DECAYS = {"roughness_decay": 0.0, "means_decay": 0.0}

CHANGES: Knobs = {
    "contrast": off(LogUniform(5e-3, 0.5)),
    "brightness": off(LogUniform(2e-2, 2.0)),
    "noise": off(LogUniform(2e-2, 2.0)),
    "blur": off(LogUniform(1e-2, 1.0, most=1.0)),
    "motion": off(LogUniform(2e-3, 0.2)),
}
"""All at once they help or harm; in ranges that go on to ten, random points only harm, and a search
that begins from points without them turns all of them off."""

NO_CHANGES = dict.fromkeys(CHANGES, 0.0)
SOME_CHANGES = {"contrast": 0.05, "brightness": 0.2, "noise": 0.2, "blur": 0.1, "motion": 0.02}
"""The middle of each range: what a search begins from beside the points without changes."""

NOTHING_ADDED = {
    **{"sgd": 0.0, "muon": 0.0, "one_minus_momentum": 0.1, "one_minus_b2": 1e-3},
    **{"weights_decay": 0.0, "biases_decay": 0.0, "label_smoothing": 0.0, "dropout": 0.0},
    **{"average_share": 0.0, "rho": 0.0, "noise_std": 0.0},
}
"""Where the joint search is Adam."""


def joined(translate: Callable[[Values], Values] = dict) -> Callable[[Values], Values]:
    """A rival's values as those of the joint search, all else turned off."""
    return lambda values: {**NOTHING_ADDED, **translate(values)}


def joined_base(values: Values) -> Values:
    """What adds to Adam or SGD as a point of the joint search, whose Adam has the momentum, too."""
    momentum = values["one_minus_momentum"] if values["sgd"] > 0.5 else 0.1
    return {**NOTHING_ADDED, **values, "one_minus_momentum": momentum}


ON_ADAM = ("ema", "sam", "damp", "label_smoothing", "dropout")
ON_MUON = ("muon", "muon_ema", "muon_damp")

RIVALS = {
    "sgd": Rival(
        {
            "learning_rate": LogUniform(1e-3, 3.0),
            "one_minus_momentum": MOMENTUM,
            "cosine": Switch(),
        },
        recipes.sgd,
    ),
    "adam": Rival(RATE, recipes.adam),
    "adamw": Rival(DECAYED, recipes.adamw, {"adam": same(weight_decay=0.0)}),
    "frequency": Rival(
        {**DECAYED, "strength": off(LogUniform(1e-4, 1e1))},
        recipes.frequency,
        {"adam": same(weight_decay=0.0, strength=0.0), "adamw": same(strength=0.0)},
    ),
    "ema": Rival({**BASE, "average_share": AVERAGE_SHARE}, recipes.ema, on_adam(average_share=0.0)),
    "sam": Rival({**BASE, "rho": RHO}, recipes.sam, on_adam(rho=0.0)),
    "asam": Rival({**BASE, "rho": ASAM_RHO}, recipes.asam, on_adam(rho=0.0)),
    "layer_sam": Rival(
        {**BASE, "rho": RHO, "growth": GROWTH},
        recipes.layer_sam,
        {**on_adam(rho=0.0, growth=1.0), "sam": same(growth=1.0)},
    ),
    "layer_asam": Rival(
        {**BASE, "rho": ASAM_RHO, "growth": GROWTH},
        recipes.layer_asam,
        {**on_adam(rho=0.0, growth=1.0), "asam": same(growth=1.0)},
    ),
    "damp": Rival({**BASE, "noise_std": NOISE_STD}, recipes.damp, on_adam(noise_std=0.0)),
    "label_smoothing": Rival(
        {**BASE, "label_smoothing": LABEL_SMOOTHING},
        recipes.label_smoothing,
        on_adam(label_smoothing=0.0),
    ),
    "dropout": Rival({**BASE, "dropout": DROPOUT}, recipes.dropout, on_adam(dropout=0.0)),
    "muon": Rival(DECAYED, recipes.muon),
    "muon_ema": Rival(
        {**DECAYED, "average_share": AVERAGE_SHARE},
        recipes.muon_ema,
        {"muon": same(average_share=0.0)},
    ),
    "muon_damp": Rival(
        {**DECAYED, "noise_std": NOISE_STD}, recipes.muon_damp, {"muon": same(noise_std=0.0)}
    ),
    "decayed_adam": Rival(
        {**RATE, **DECAYS},
        recipes.adam_with_decays,
        {"adam": same(**NO_DECAYS), "adamw": as_decays(**SHAPING_DECAYS)},
    ),
    "decayed_muon": Rival(
        {**RATE, **DECAYS},
        recipes.muon_with_decays,
        contains={"muon": as_decays(**SHAPING_DECAYS)},
        resembles={"decayed_adam": dict},
    ),
    "muon_weight_space": Rival(
        {**RATE, **DECAYS, **CHANGES},
        recipes.muon_in_weight_space,
        {
            "muon": as_decays(**SHAPING_DECAYS, **NO_CHANGES),
            "decayed_muon": same(**NO_CHANGES),
        },
        {
            "muon": as_decays(**SHAPING_DECAYS, **SOME_CHANGES),
            "decayed_muon": same(**SOME_CHANGES),
        },
    ),
    "autoft": Rival(
        {
            **{**BASE, "muon": Switch(), "one_minus_b2": LogUniform(1e-4, 1.0, most=1.0)},
            "weights_decay": maybe(LogUniform(1e-3, 1e1)),
            "biases_decay": maybe(LogUniform(1e-2, 1e2)),
            "label_smoothing": maybe(LABEL_SMOOTHING),
            "dropout": maybe(DROPOUT),
            "average_share": maybe(AVERAGE_SHARE),
            "rho": maybe(RHO),
            "noise_std": maybe(NOISE_STD),
        },
        recipes.autoft,
        {
            **{"adam": joined(), "sgd": joined(on_adam()["sgd"]), "adamw": joined(as_decays())},
            **dict.fromkeys(ON_ADAM, joined_base),
            **dict.fromkeys(ON_MUON, joined(as_decays(muon=1.0))),
        },
    ),
}
"""Rivals by name, each behind those that it contains or resembles."""
