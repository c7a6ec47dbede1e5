"""Writes the pages of `docs/reference` from the code: the settings, and the Python API.

    python docs/write_reference.py

It also writes the tables of `docs/rule.md` from the weights that ship. A test compares all of them
with what this writes, so that they cannot go stale.
"""

import inspect
import re
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np

import noiseproof
from noiseproof.experiment.described import described, sections
from noiseproof.kinds import KINDS, MATRICES
from noiseproof.optimizers.structured import rates_at
from noiseproof.optimizers.universal import THEORY
from noiseproof.studies.rule import OF_EPOCHS, SIZES, explain
from noiseproof.zoo import load_learned

FOLDER = Path(__file__).parent / "reference"

SHOWN = "spectral-fashion-convnet"
"""The shipped optimizer whose numbers `rule.md` shows."""

PARTS_OF_A_RUN = (0.0, 0.5, 0.9)


def settings_page() -> str:
    """Every setting by section."""
    lines = [
        "# Settings",
        "",
        "`--set SECTION.KEY=VALUE` takes these; `noiseproof settings` prints the same.",
    ]
    for section, meaning in sections().items():
        lines += [
            *("", f"## {section}", "", meaning, ""),
            *("| key | of kind | default | values | meaning |", "|---|---|---|---|---|"),
        ]
        for one in described(section):
            kinds = ", ".join(f"`{kind}`" for kind in one.kinds)
            default = f"`{one.default}`" if one.default else "must be given"
            lines.append(f"| `{one.key}` | {kinds} | {default} | {one.values} | {one.meaning} |")
    return "\n".join(lines) + "\n"


def api_page() -> str:
    """Every public name with its signature and its docstring."""
    lines = ["# The Python API", "", "`import noiseproof as npf` shows these names."]
    for name in sorted(noiseproof.PLACES, key=str.lower):
        value = getattr(noiseproof, name)
        lines += ["", f"## {name}", ""]
        if isinstance(value, dict):
            lines.append(f"A dict of {len(value)}: {', '.join(f'`{key}`' for key in value)}.")
            continue
        lines += ["```text", f"npf.{name}{signature(value)}", "```", "", *as_markdown(value)]
    return "\n".join(lines) + "\n"


def signature(value: Callable[..., object]) -> str:
    """The arguments and their defaults, an argument a line where they are long."""
    found = inspect.signature(value)
    plain = found.replace(
        parameters=[p.replace(annotation=p.empty) for p in found.parameters.values()],
        return_annotation=found.empty,
    )
    # A default that is a function prints its address, which changes from run to run.
    return re.sub(r"<function .*? at 0x\w+>", "...", str(plain))


def as_markdown(value: object) -> list[str]:
    """A docstring with its sections as lists."""
    lines = []
    for line in (inspect.getdoc(value) or "").splitlines():
        title = re.fullmatch(r"(Args|Attributes|Returns|Raises):", line)
        entry = re.fullmatch(r"    (\w+): (.*)", line)
        if title:
            lines += [f"**{title[1]}**", ""]
        elif entry:
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        else:
            lines.append(line.removeprefix("    ") if line.startswith("    ") else line)
    return lines


def rule_page() -> str:
    """The page of the rule, with the numbers of a shipped theta in its tables."""
    theta = load_learned(SHOWN).theta
    at = {share: rates_at(theta, jnp.float32(share)) for share in PARTS_OF_A_RUN}
    header = " | ".join(f"{100 * share:.0f}% of the run" for share in at)
    rows = [f"| rate | of | {header} |", f"|---|---|{'---|' * len(at)}"]
    for rate, words in (("step", "step"), ("decay", "decay"), ("orthogonal", "share of orth")):
        for row, kind in enumerate(KINDS if rate != "orthogonal" else MATRICES):
            cells = " | ".join(f"{float(rates[rate][row]):.2g}" for rates in at.values())
            rows.append(f"| {words} | {kind} | {cells} |")
    pulls = [f"| pull on | layer | {header} |", f"|---|---|{'---|' * len(at)}"]
    for layer, where in enumerate(("first", "later")):
        for band, words in enumerate(("fine", "middle", "coarse")):
            cells = [float(rates["bands"][layer, band]) for rates in at.values()]
            pulls.append(_pull(f"{words} differences", where, cells))
        pulls.append(_pull("the mean", where, [float(one["mean"][layer]) for one in at.values()]))
    text = (FOLDER.parent / "rule.md").read_text("utf-8")
    tables = {"rule": rows, "pulls": pulls, "exponents": exponents()}
    for name, lines in tables.items():
        marks = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        before, rest = text.split(marks[0])
        table = "\n".join(lines)
        text = f"{before}{marks[0]}\n{table}\n\n{marks[1]}{rest.split(marks[1])[1]}"
    return text


def _pull(what: str, where: str, cells: list[float]) -> str:
    return f"| {what} | {where} | {' | '.join(f'{cell:.2g}' for cell in cells)} |"


def exponents() -> list[str]:
    """The exponents of `universal`, those of theory beside those that were learned."""
    found = explain("universal").exponents
    rows = ["| what is scaled | of | by | theory | learned |", "|---|---|---|---|---|"]
    tables = {group: one for group, one in {**SIZES, **OF_EPOCHS}.items() if group in found}
    for group, (what, sizes, kinds) in tables.items():
        theory = np.broadcast_to(
            THEORY.get(group.removesuffix("_fans"), 0.0), found[group][0].shape
        )
        for by, size in enumerate(sizes.split(", ")):
            # Kinds that move together are one row; a vector's fan in is always one.
            alike: dict[tuple[str, str], list[str]] = {}
            for row, kind in enumerate(kinds):
                if size == "fan in" and kind not in MATRICES:
                    continue
                numbers = f"{theory[row, by]:g}", f"{found[group][0, row, by]:+.2f}"
                alike.setdefault(numbers, []).append(kind)
            for (known, learned), members in alike.items():
                of = ", ".join(members) if len(alike) > 1 else "all"
                rows.append(f"| {what} | {of} | {size} | {known} | {learned} |")
    return rows


PAGES = {"../rule.md": rule_page, "settings.md": settings_page, "api.md": api_page}

if __name__ == "__main__":
    for page, write in PAGES.items():
        (FOLDER / page).write_text(write(), "utf-8")
