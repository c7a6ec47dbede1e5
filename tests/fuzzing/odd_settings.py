"""Settings of odd types, sizes and depths, as words of `--set` and as nested values."""

import json
import math
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fuzzing.cases import Case, changed, nested, odd_value
from noiseproof.experiment import choices
from noiseproof.experiment.build import build_experiment
from noiseproof.experiment.meta_problem import with_task
from noiseproof.experiment.reading import with_settings
from noiseproof.experiment.settings import Settings, as_dict

KIND_TABLES = {
    "model": choices.MODEL_CHOICES,
    "rule": choices.RULE_CHOICES,
    "estimator": choices.ESTIMATOR_CHOICES,
    "run_length": choices.RUN_LENGTH_CHOICES,
    "outer": choices.OUTER_CHOICES,
    "conditions": choices.CONDITION_CHOICES,
}

SHARES = ("clean", "warped", "last_share", "warmup_share")
MOST = 1e8
"""No number of a setting is above it, and none below zero."""


@cache
def places() -> tuple[tuple[str, ...], ...]:
    """Every field of every kind: the word that chooses the kind, if there is one, and the place."""
    found: list[tuple[str, ...]] = []
    for section, value in as_dict(Settings()).items():
        if section in KIND_TABLES:
            for kind, fields in KIND_TABLES[section].items():
                chosen = f"{section}.kind={kind}"
                found += [(chosen, f"{section}.{name}") for name in fields.__struct_fields__]
        elif isinstance(value, dict):
            found += [(f"{section}.{name}",) for name in value]
        else:
            found.append((section,))
    return tuple(found)


def numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """All numbers of settings, with the names of their fields."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from numbers(part, key)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from numbers(part, name)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value


def check(settings: Settings) -> None:
    """Asserts that every number lies in its range, and that records keep what was taken."""
    # What tasks lay over the settings is read when it is laid over them.
    for task in settings.tasks:
        check(with_task(settings, task))
    for name, number in numbers({**as_dict(settings), "tasks": []}):
        assert math.isfinite(number), name
        assert 0 <= number <= (1 if name in SHARES else MOST), (name, number)
    again = msgspec.convert(json.loads(json.dumps(as_dict(settings), allow_nan=False)), Settings)
    assert as_dict(again) == as_dict(settings)


def read_words(words: list[str], _folder: Path) -> None:
    check(with_settings({}, words, "settings"))


def build(words: list[str], _folder: Path) -> None:
    build_experiment(with_settings({}, words, "settings"))


def read_values(values: dict[str, Any], _folder: Path) -> None:
    check(with_settings(values, [], "fuzz"))


def word(rng: np.random.Generator) -> list[str]:
    """A setting, behind the one that chooses its kind."""
    *chosen, place = places()[int(rng.integers(len(places())))]
    if rng.random() < 0.05:
        odd = [place + ".x", "x", "", ".", "tasks.0.model", place + "\n", "=" * 9, "x" * 9_000]
        place = str(rng.choice(odd))
    if rng.random() < 0.04:
        return [*chosen, f"{place}={nested(int(rng.choice([9, 1_000, 10_000])), rng)}"]
    value = odd_value(rng)
    text = "nan" if value != value else json.dumps(value).replace("NaN", "nan")
    return [*chosen, f"{place}={text.replace('Infinity', 'inf')}"]


def words_case(_kind: str, rng: np.random.Generator) -> Case:
    return Case({}, partial(read_words, [part for _ in range(2) for part in word(rng)]))


def build_case(_kind: str, rng: np.random.Generator) -> Case:
    """What is read goes on to the builders, with what the reader alone would let through."""
    *chosen, place = places()[int(rng.integers(len(places())))]
    values = ["1", "2", "0", "1000000", "1e3", "[]", "[1, 1]", "[1000000, 1000000]", '["abc"]']
    values += ['"a\\nb"', '"' + "y" * 3000 + '"', "[0.0, 1e-300]", "[3.0, 1.0]", "998", "1e-300"]
    return Case({}, partial(build, [*chosen, f"{place}={rng.choice(values)}"]))


def values_case(_kind: str, rng: np.random.Generator) -> Case:
    values = as_dict(Settings())
    values["tasks"] = [{"weight": 1.0, "data": {"name": "digits"}, "model": {"kind": "mlp"}}]
    values["scales"] = {"small": {"inner": {"num_steps": 10}}}
    for _ in range(int(rng.integers(1, 4))):
        values = changed(values, rng)
        if not isinstance(values, dict):
            values = {"data": values}
    return Case({}, partial(read_values, values))


KINDS = {"settings:words": words_case, "settings:values": values_case, "settings:build": build_case}
