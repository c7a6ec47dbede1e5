"""The settings that a learned optimizer was meta-trained with, as its card keeps them."""

from typing import Any

from noiseproof.experiment.reading import with_settings
from noiseproof.experiment.settings import Settings, as_dict
from noiseproof.zoo import Loaded


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


def judged_alone(settings: Settings) -> dict[str, Any]:
    """Settings as they are laid over where nothing is meta-trained: without tasks and controls."""
    values = {**as_dict(settings), "controls": [], "tasks": []}
    values["meta"] |= {"tasks_at_once": 0, "start": [], "grouped": False}
    return values
