"""The settings that a learned optimizer was meta-trained with, as its card keeps them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from noiseproof.experiment.reading import converted, with_settings
from noiseproof.experiment.settings import Settings, as_dict
from noiseproof.messages import short
from noiseproof.types import Theta
from noiseproof.zoo import Loaded, load_learned

CONTROL = "control-"
"""Begins the name of a control's folder, in that of a run; its outer loss ends it."""


def settings_of(loaded: Loaded, name: str) -> Settings:
    """What a card says of the data, classifier and runs of meta-training.

    Args:
        loaded: The learned optimizer.
        name: Its name or place, for messages.

    Raises:
        ValueError: The card does not say it.
    """
    try:
        values = dict(loaded.card["provenance"]["config"])
        missing = {"preset", "meta_training", "meta_trained_on"} - set(loaded.card)
    except (KeyError, TypeError):
        values, missing = {}, {"provenance"}
    if missing:
        raise ValueError(f"The card of {name} does not say how it was meta-trained.")
    if "augmented_rival" in values.get("tuning", {}):
        # Of an older court, with fewer rivals; what it meta-trained on does not change.
        del values["tuning"]
    return with_settings(values, [], f"The card of {name}")


def check_rule_is_kept(settings: Sequence[str], name: str) -> None:
    """Raises ValueError where a setting would change the rule, or the controls, of what is loaded.

    Args:
        settings: `section.key=value`.
        name: Of the learned optimizer, or its place, for messages.
    """
    for setting in settings:
        if setting.partition("=")[0].split(".")[0].strip() in ("rule", "controls"):
            raise ValueError(f"The rule comes with {name} and cannot be set, got {short(setting)}.")


def judged_alone(settings: Settings) -> dict[str, Any]:
    """Settings as they are laid over where nothing is meta-trained: without tasks and controls."""
    values = {**as_dict(settings), "controls": [], "tasks": []}
    values["meta"] |= {"tasks_at_once": 0, "start": [], "grouped": False}
    return values


def of_any_length(settings: Settings) -> Settings:
    """Settings whose runs are as long as they say, whatever meta-training cut its own into."""
    truncation, num_steps = getattr(settings.estimator, "truncation", 1), settings.inner.num_steps
    if num_steps % truncation == 0:
        return settings
    whole = msgspec.structs.replace(settings.estimator, truncation=num_steps)
    return msgspec.structs.replace(settings, estimator=whole)


def controls_of(folder: Path) -> tuple[tuple[str, str, Theta], ...]:
    """The controls that a run meta-trained, as `(kind, words, theta)`; none of what is no run's.

    Raises:
        ValueError: One is damaged.
    """
    found = []
    for place in sorted(folder.glob(f"{CONTROL}*")):
        control, kind = load_learned(place), place.name.removeprefix(CONTROL)
        words = converted(control.card["meta_trained_on"], str, f"{place}.meta_trained_on")
        found.append((kind, words, control.theta))
    return tuple(found)
