"""The settings that `--set` takes, as text for a terminal."""

from noiseproof.experiment.described import Described, described


def as_text(section: str = "") -> str:
    """Every setting, or those of one section: place, default, values, and what it means below.

    Raises:
        ValueError: There is no such section.
    """
    return "\n".join(f"{_line(one)}\n    {one.meaning}" for one in described(section))


def _line(one: Described) -> str:
    of_kind = f"  with kind {' or '.join(one.kinds)}" if one.kinds else ""
    default = f"={one.default}" if one.default else ""
    return f"{one.place}{default}  ({one.values}){of_kind}"
