"""The names that commands and presets take, straight from the dicts that hold them."""

from collections.abc import Iterable, Mapping

from noiseproof.corruptions import CORRUPTIONS
from noiseproof.data import DATASETS
from noiseproof.experiment.reading import preset_names
from noiseproof.messages import did_you_mean, short
from noiseproof.metatrain import ESTIMATORS
from noiseproof.metatrain.run_lengths import RUN_LENGTHS
from noiseproof.models import MODELS
from noiseproof.optimizers import LEARNED_OPTIMIZERS
from noiseproof.rivals import RIVALS
from noiseproof.zoo import in_a_line, load_learned, shipped_names


def names_by_kind() -> Mapping[str, Iterable[str]]:
    """All names by kind."""
    return {
        "presets": preset_names(),
        "datasets": DATASETS,
        "models": MODELS,
        "optimizers": LEARNED_OPTIMIZERS,
        "rivals": RIVALS,
        "estimators": ESTIMATORS,
        "run_lengths": RUN_LENGTHS,
        "corruptions": CORRUPTIONS,
        "zoo": shipped_names(),
    }


def describe(kind: str = "") -> str:
    """The names of one kind, a line each; of all kinds, a line a kind, if none is named.

    The line of a learned optimizer also says what it was meta-trained on and what it gains.

    Raises:
        ValueError: There is no such kind.
    """
    kinds = names_by_kind()
    if not kind:
        return "\n".join(f"{kind}: {' '.join(names) or '-'}" for kind, names in kinds.items())
    if kind not in kinds:
        raise ValueError(
            f"The kind must be one of {', '.join(kinds)}, got {short(kind)}."
            + did_you_mean(kind, kinds)
        )
    if kind == "zoo":
        return "\n".join(in_a_line(name, load_learned(name).card) for name in kinds[kind])
    return "\n".join(kinds[kind])
