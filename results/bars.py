"""What the committed records say, as the tables of `docs/results.md`, from these records alone.

    python results/bars.py            # every record
    python results/bars.py --readme   # the table of README.md
    python results/bars.py --prose    # what its sentences say in numbers
    python results/bars.py --write    # writes both tables into their pages

Counted are, each by its mean over severities, of `spectral` the named corruptions outside the noise
family that no rule was developed on, whether held out or kin of what the outer loss showed; of
`families` those that the fold holds out; of the experiments on one noise scale, all six scales.
Differences are in points of accuracy, the learned optimizer less a rival, with half of the 95%
interval, paired by seed.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from noiseproof.corruptions.families import STANDARD_15
from noiseproof.report.tables import trials_until_level
from noiseproof.results import (
    Condition,
    Record,
    accuracies,
    compare,
    mean_interval,
    places,
    read_record,
    significant,
    tuning_costs,
)
from noiseproof.zoo import load_learned

FOLDER = Path(__file__).parent

RESNETS = (
    "universal-resnet/resnet_8.json",
    "universal-resnet/resnet.json",
    "universal-gpu/augmix.json",
)
"""A ResNet-18 with flips and crops by the shipped theta, and with AugMix by an earlier one."""

HEADER = (
    *("record", "clean accuracy − Adam's", "better than Adam on", "significantly"),
    *("accuracy", "− Adam's", "− AdamW's", "− its own before meta-training"),
    *("− the control's", "− the strongest rival's", "trials that rival needs"),
)

README = {
    "universal-convnet": "`universal`, convnet, Fashion-MNIST at 14×14",
    "universal-mlp": "`universal`, perceptron, Fashion-MNIST at 14×14",
    "court-spectral-fashion-convnet": "one made for it, the same convnet",
    "court-spectral-fashion-mlp": "one made for it, the same perceptron",
    "spectral-cifar-convnet/gpu/seed-0": "one made for it, convnet, CIFAR-10 at 32×32",
}
"""What the README shows: of three meta-seeds the first."""

PROSE = (
    "spectral-fashion-mlp/seed-0",
    "spectral-fashion-convnet/seed-0",
    "spectral-cifar-convnet/seed-0",
    "court-spectral-cifar-convnet",
    "gaussian-fashion-mlp/seed-0",
    "transfer-spectral-fashion-convnet/width-32-64-128",
    "transfer-spectral-fashion-mlp/width-128",
    "spectral-fashion-mlp-augmented/seed-0",
)
"""Records that only its sentences speak of."""

SHIPPED = ("spectral-cifar-convnet-gpu", "spectral-fashion-convnet", "spectral-fashion-mlp")
"""Learned optimizers of the rows' problems, the largest first."""

README_HEADER = (
    *("optimizer, classifier, data", "learned, untuned", "Adam, tuned"),
    *("strongest tuned rival (of how many)", "difference to it", "better than Adam on"),
)


def counted(condition: Condition, experiment: str) -> bool:
    """Whether a condition stands for what is asked: see above."""
    if experiment == "gaussian":
        return bool(condition.strength)
    named = condition.severity is None and condition.strength is None
    if experiment == "families":
        return named and condition.role == "held_out"
    return named and condition.family != "noise" and condition.role in ("held_out", "kin")


class Cells(NamedTuple):
    """What a table asks of one record, or of several folds, each corruption from one of them."""

    records: Sequence[Record]
    place: dict[str, int]
    kinds: dict[str, str]
    clean: np.ndarray
    core: np.ndarray

    @property
    def learned(self) -> str:
        """The learned optimizer."""
        (name,) = (name for name, kind in self.kinds.items() if kind == "learned")
        return name

    def against(self, rival: str, tables: np.ndarray) -> str:
        """The difference to a rival and half its interval."""
        gains = tables[:, self.place[self.learned]] - tables[:, self.place[rival]]
        found = mean_interval(100 * gains.mean(axis=0))
        return f"{found.mean:+.1f} ± {found.high - found.mean:.1f}"

    def mean(self, name: str) -> float:
        """Mean accuracy over what is counted, in percent."""
        return 100 * float(self.core[:, self.place[name]].mean())

    def first(self, kind: str) -> str:
        """The difference to the first optimizer of a kind."""
        names = [name for name in self.kinds if self.kinds[name] == kind]
        return self.against(names[0], self.core) if names else "–"

    def strongest(self) -> tuple[str, str]:
        """The hand-designed rival that is best over what is counted, and its trials until it is
        level with the learned optimizer in the outer loss.
        """
        rivals = [name for name, kind in self.kinds.items() if kind == "hand"]
        rival = max(rivals, key=self.mean)
        costs = [tuning_costs(record).get(rival) for record in self.records]
        return f"{rival} {self.against(rival, self.core)}", ", ".join(
            map(trials_until_level, costs)
        )

    def better(self) -> tuple[str, str]:
        """On how many conditions tuned Adam is beaten, and on how many significantly."""
        adam = [
            comparison
            for record in self.records
            for comparison in compare(record, learned=self.learned, rivals=["adam"])
            if counted(comparison.condition, record.run.experiment)
        ]
        better = [comparison for comparison in adam if comparison.difference > 0]
        return f"{len(better)} of {len(adam)}", str(sum(map(significant, better)))


def cells_of(folders: Sequence[Path]) -> Cells:
    """Reads one record, or several folds."""
    records = [read_record(folder) for folder in folders]
    run = records[0].run
    tables = [item for record in records for item in accuracies(record).items()]
    return Cells(
        records=records,
        place=places(records[0]),
        kinds={entry.name: entry.kind for entry in run.optimizers},
        clean=np.array([table for condition, table in tables if condition.role == "clean"]),
        core=np.array([table for one, table in tables if counted(one, run.experiment)]),
    )


def line(name: str, folders: Sequence[Path]) -> list[str]:
    """The cells of one record, or of several folds together."""
    cells = cells_of(folders)
    return [
        name,
        cells.against("adam", cells.clean),
        *cells.better(),
        f"{cells.mean(cells.learned):.1f}",
        cells.against("adam", cells.core),
        cells.against("adamw", cells.core),
        cells.first("initial"),
        cells.first("control"),
        *cells.strongest(),
    ]


def readme_line(name: str, words: str) -> list[str]:
    """The cells of one record in the README."""
    cells = cells_of([FOLDER / name])
    rival, difference = cells.strongest()[0].split(" ", 1)
    num_rivals = list(cells.kinds.values()).count("hand")
    return [
        f"[{words}](results/{name})",
        f"{cells.mean(cells.learned):.1f}",
        f"{cells.mean('adam'):.1f}",
        f"{rival} {cells.mean(rival):.1f} ({num_rivals})",
        difference,
        cells.better()[0],
    ]


def prose() -> list[str]:
    """What sentences of the README say in numbers."""
    cells = {name: cells_of([FOLDER / name]) for name in (*README, *PROSE)}
    universal, universal_mlp, convnet_court, court, at_32 = (cells[name] for name in README)
    before, before_convnet, *on_cifar, white, wide, wide_mlp, augmented = (
        cells[name] for name in PROSE
    )
    weights = [load_learned(name).card["task"]["num_weights"] for name in SHIPPED]
    theta = load_learned("universal").theta
    spectral = [cells_of([path.parent]) for path in FOLDER.glob("spectral-*/**/run.json")]
    controlled = [one for one in spectral if "control" in one.kinds.values()]
    worse = sorted(float(one.first("control").split()[0]) for one in controlled)
    names = {
        condition.corruption: condition.family
        for condition in accuracies(court.records[0])
        if counted(condition, "spectral")
    }
    in_cifar = [name for name in names if name in STANDARD_15]
    noises = len(STANDARD_15) - len(in_cifar)
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    words += ["eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen"]
    num_geometric = words[list(names.values()).count("geometric")].capitalize()
    lead = [
        one.strongest()[0].split()[-3].removeprefix("+")
        for one in (before, court, before_convnet, convnet_court, *on_cifar)
    ]
    trials = [
        tuning_costs(one.records[0])[one.strongest()[0].split()[0]].trials_to_reach
        for one in (universal, universal_mlp, convnet_court, court)
    ]
    better = [one.better()[0].split()[0] for one in (wide, wide_mlp)]
    against_own = wide.against("decayed_adam", wide.core)
    small, plain, with_augmix = map(resnets, RESNETS)
    seeds = [len(one.records[0].run.seeds) for one in (universal, court)]
    mnist = cells_of([FOLDER / "grid" / "perceptron-on-mnist-at-28"])
    grid = [cells_of([path.parent]) for path in (FOLDER / "grid").glob("*/run.json")]
    best = ("adamw", "muon", "decayed_muon")
    rivals = [
        *(("adam",), ("muon",), ("decayed_muon",)),
        [f"{name}{where}" for name in best for where in ("", " transferred")],
    ]
    on_adam, on_muon, on_decayed, on_all = (
        words[sum(one.mean("universal") > max(map(one.mean, names)) for one in grid)]
        for names in rivals
    )
    searched = [one.records[0].run.provenance.config["tuning"]["num_trials"] for one in grid]
    gains = [
        f"{one.mean(f'universal{state}') - one.mean('adam'):.1f}"
        for one in (universal, universal_mlp)
        for state in (" initial", "")
    ]
    return [
        f"Its {sum(leaf.size for leaf in jax.tree.leaves(theta))} numbers",
        f"five severities and {seeds[0]} seeds",
        f"the last row's has {weights[0]:,} weights, the others less than"
        f" {-(-max(weights[1:]) // 1000) * 1000:,}",
        f"accuracy falls by {worse[0]:.1f} to {worse[-1]:.1f} points only",
        f"changed the lead over the strongest from {lead[0]} to {lead[1]} points on the"
        f" perceptron, from {lead[2]} to {lead[3]} on the convnet, and from {lead[4]} to"
        f" {lead[5]} on CIFAR-10 at 16×16",
        f"mean over {len(names)} named corruptions",
        f"the standard {len(STANDARD_15)} of CIFAR-10-C without its {words[noises]} noises, and"
        f" {words[len(names) - len(in_cifar)]} of MNIST-C",
        f"{num_geometric} are geometric",
        f"over {seeds[0]} seeds ({seeds[1]} in the fourth row)",
        f"On {words[len(grid)]} problems that it never met universal is ahead of tuned Adam on"
        f" {on_adam}, of tuned Muon on {on_muon} and of tuned decayed_muon on {on_decayed}, after"
        f" searches of {min(searched)} to {max(searched)} trials; of the best of them and AdamW,"
        f" tuned there or elsewhere, on {on_all}",
        f"Before any training it has {gains[0]} of the {gains[1]} points of row one, and {gains[2]}"
        f" of the {gains[3]} of row two",
        f"trained on {len(load_learned('universal').card['tasks'])} problems",
        f"takes {trials[0]}, {trials[1]}, {trials[2]} and {trials[3]} trials on average",
        f"better on clean images (by {opposite(at_32.against('muon', at_32.clean))} points)",
        "is level with Muon on Fashion-MNIST with a perceptron"
        f" ({white.against('muon', white.core)} points)",
        "With a perceptron on MNIST at 28×28 tuned decayed_muon is above universal, by"
        f" {opposite(mnist.against('decayed_muon', mnist.core))} points",
        f"better than Adam on {better[0]} (convnet) and {better[1]} (perceptron) of {len(names)}"
        " corruptions, and the convnet's is below tuned decayed_adam by"
        f" {opposite(against_own)} points",
        f"a newer rival of ours, reaches {augmented.mean('muon_weight_space'):.1f}%",
        f"is level with it ({augmented.mean(augmented.learned):.1f})",
        f"is behind (n = {small.seeds}). On one of {small.depth} layers, CIFAR-10 at 32×32, it came"
        f" to {small.of['universal']}%, tuned Muon to {small.of['muon']}, decayed_muon to"
        f" {small.of['decayed_muon']}, Adam to {small.of['adam']}",
        f"with flips and crops it came to {plain.of['universal']}%, tuned Adam to"
        f" {plain.of['adam']}, Muon to {plain.of['muon']}"
        f" and decayed_muon to {plain.of['decayed_muon']}; with AugMix an earlier theta came to"
        f" {with_augmix.of['universal']}, Muon to {with_augmix.of['muon']} and decayed_muon to"
        f" {with_augmix.of['decayed_muon']}",
    ]


class ResNets(NamedTuple):
    """Attributes: `seeds` of the learned optimizer; `depth`, layers; `of`, by optimizer, the mean
    accuracy under corruptions in percent."""

    seeds: int
    depth: int
    of: dict[str, str]


def resnets(file: str) -> ResNets:
    """What a record of residual nets says."""
    record = json.loads((FOLDER / file).read_text("utf-8"))
    found = record["contestants"]
    means = {
        name: f"{100 * np.mean([run['mean_corrupted'] for run in part['runs']]):.1f}"
        for name, part in found.items()
    }
    depth = record["settings"].get("depth", 18)  # as all of before this was a setting
    return ResNets(len(found["universal"]["runs"]), depth, means)


def opposite(difference: str) -> str:
    """A loss as the gain of the other."""
    return difference.removeprefix("-")


def readme_table() -> list[str]:
    """The table of the README, line by line."""
    return in_markdown(README_HEADER, [readme_line(*item) for item in README.items()])


def whole_table() -> list[str]:
    """The table of every record, and of the folds of each preset together."""
    folders = sorted(path.parent for path in FOLDER.rglob("run.json"))
    names = [folder.relative_to(FOLDER).as_posix() for folder in folders]
    lines = [
        line(f"[{name}](../results/{name})", [folder])
        for name, folder in zip(names, folders, strict=True)
    ]
    folds = {folder.parent for folder in folders if folder.name.startswith("fold-")}
    for preset in sorted(folds):
        name = preset.relative_to(FOLDER).as_posix()
        lines.append(line(f"{name}, all folds", sorted(preset.glob("fold-*"))))
    return in_markdown(HEADER, lines)


def in_markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """A table, line by line."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *lines)]


def write(page: Path, table: Sequence[str]) -> None:
    """Puts a table in place of the one in a page that has its header."""
    lines = page.read_text("utf-8").split("\n")
    begin = lines.index(table[0])
    length = next(n for n, one in enumerate(lines[begin:]) if not one.startswith("|"))
    lines[begin : begin + length] = table
    page.write_text("\n".join(lines), "utf-8")


def main(arguments: Sequence[str]) -> None:
    """Prints a table, or lines; or writes the tables."""
    if arguments == ["--write"]:
        write(FOLDER.parent / "README.md", readme_table())
        write(FOLDER.parent / "docs" / "results.md", whole_table())
    elif arguments == ["--prose"]:
        print("\n".join(prose()))
    else:
        print("\n".join(readme_table() if arguments == ["--readme"] else whole_table()))


if __name__ == "__main__":
    main(sys.argv[1:])
