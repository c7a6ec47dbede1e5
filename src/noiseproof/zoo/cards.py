"""The card of a learned optimizer: a mapping that prints as text for a reader."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from noiseproof.published import met
from noiseproof.rivals import RIVALS

LIMITS = (
    "Meta-trained on small tasks: on other data sets, classifiers, run lengths and batch sizes "
    "it may do worse than a tuned hand-designed optimizer; compare before relying on it."
)
"""What every card says."""

MATCHED = " matched"
"""Ends the name of a rival that was searched as long as meta-training lasted."""


@dataclass(frozen=True)
class Card:
    """What a learned optimizer was meta-trained on, its results and its limits.

    It is read as a dict is: `card["limits"]`, `card.get("task")`, `dict(card)`.

    Attributes:
        name: Its name or place.
        content: What the card says, as JSON has it.
    """

    name: str
    content: Mapping[str, Any]

    def __getitem__(self, entry: str) -> Any:
        return self.content[entry]

    def __iter__(self) -> Iterator[str]:
        return iter(self.content)

    def __len__(self) -> int:
        return len(self.content)

    def __contains__(self, entry: object) -> bool:
        return entry in self.content

    def get(self, entry: str, default: Any = None) -> Any:
        """What stands under an entry, or the default."""
        return self.content.get(entry, default)

    def keys(self) -> Any:
        """All keys."""
        return self.content.keys()

    def values(self) -> Any:
        """All that stands under keys."""
        return self.content.values()

    def items(self) -> Any:
        """All keys with what stands under them."""
        return self.content.items()

    def __repr__(self) -> str:
        return in_words(self.name, self.content)


def in_words(name: str, card: Mapping[str, Any]) -> str:
    """A card as text; what it does not say is left out."""
    cost = card.get("meta_training") or {}
    facts = {
        "rule": card["rule"],
        "meta-trained on": card.get("meta_trained_on"),
        "good for": good_for(card),
        "needs": needs(card),
        "it took": f"{cost['seconds']:,.0f} s on {cost['device']}" if cost else None,
        "held out": gain(card),
        "limits": card.get("limits"),
        "license": card.get("license"),
        "more in": f"card[...]: {', '.join(card)}",
    }
    lines = (f"  {title:16}{text}" for title, text in facts.items() if text)
    return "\n".join((f"Learned optimizer {name}", *lines))


def needs(card: Mapping[str, Any]) -> str:
    """What a training loop must do for a learned optimizer."""
    told = ", told steps_per_epoch" if card["options"].get("counts_epochs") else ""
    if card["options"].get("augments"):
        return (
            f"the loop of any optax optimizer{told}, and the weights that"
            " noiseproof.recipe(...).answer gives where they are judged"
        )
    return f"the loop of any optax optimizer{told}: no second gradient, no average of weights"


def good_for(card: Mapping[str, Any]) -> str | None:
    """The classifiers and runs that a learned optimizer was made for, in words."""
    task, tasks, (lengths, weights) = card.get("task"), card.get("tasks"), met(card)
    if tasks:
        many = f" of {weights[0]:,} to {weights[1]:,} weights" if weights else ""
        runs = f", runs of {lengths[0]:,} to {lengths[1]:,} steps" if lengths else ""
        return (
            f"classifiers of many kinds and sizes (meta-trained on {len(tasks)} small ones{many})"
            f"{runs}"
        )
    if not task:
        return None
    size = "×".join(map(str, task["image_shape"]))
    weights = f" of {task['num_weights']:,} weights" if "num_weights" in task else ""
    return f"{task['model']}{weights} on {size} images, about {card['num_steps']:,} steps"


def gain(card: Mapping[str, Any]) -> str | None:
    """What a learned optimizer gains over its strongest tuned rival on what was held out."""
    results = card.get("results") or {}
    rivals = {name: one for name, one in results.items() if name.removesuffix(MATCHED) in RIVALS}
    if not rivals:
        return None
    name, found = min(rivals.items(), key=lambda pair: pair[1]["difference"])
    half = ""
    if found.get("ci95"):
        half = f" ± {50 * (found['ci95'][1] - found['ci95'][0]):.1f}"
    return (
        f"{100 * found['difference']:+.1f}{half} points against {name}, the strongest of"
        f" {len(rivals)} tuned rivals, over {found['of']} held-out conditions (n = {found['n']})"
    )


def in_a_line(name: str, card: Mapping[str, Any]) -> str:
    """A card as one line: what it was meta-trained on, what it is good for, what it gains."""
    task = card.get("task") or {}
    where = f"{len(card['tasks'])} tasks" if card.get("tasks") else task.get("dataset")
    trained = f"meta-trained on {card.get('meta_trained_on')}, {where}"
    parts = (trained, f"for {good_for(card)}", gain(card))
    return f"{name}: {'; '.join(part for part in parts if part)}"
