"""Gives damaged, odd and hostile inputs to all readers and settings; a script, not a test.

Every input is taken, and then lies in its range, or refused by a ValueError or OSError of one line
of at most 500 letters; memory stays flat. Inputs follow from `--seed` and their number alone, so
that one that fails is made again by `--only`.

    python tests/fuzz.py                 # 10,000 inputs, in less than a minute
    python tests/fuzz.py --num 100000 --seed 7
"""

import argparse
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fuzzing import data_files, odd_settings, record_files
from fuzzing.cases import Case, require_short_line

MAKERS: dict[str, Callable[[str, np.random.Generator], Case]] = {
    **dict.fromkeys(data_files.KINDS, data_files.case),
    **odd_settings.KINDS,
    **record_files.KINDS,
}
"""Kind of input -> `(kind, generator) -> Case`."""

RARE = {"images": 0.3, "settings:build": 0.12, "records:report": 0.1, "checkpoint": 0.4}
COMMON = {"settings:words": 10.0, "settings:values": 10.0, "theta": 4.0, "tuned": 2.0}
"""How often slow kinds come, and how often those that are quick and have much to vary."""

WARM = 5
"""Inputs of every kind, by which all that stays in memory is there."""

MOST_GROWTH = 64_000
"""Kilobytes that memory may grow by once every kind was met; inputs hold less than 200 each."""


def kind_of(seed: int, number: int) -> str:
    """The kind of an input."""
    weights = np.array([RARE.get(kind, COMMON.get(kind, 1.0)) for kind in MAKERS])
    rng = np.random.default_rng([seed, number, 1])
    return str(rng.choice(list(MAKERS), p=weights / weights.sum()))


def check(kind: str, rng: np.random.Generator) -> str:
    """Gives one input to its reader; returns what it says where it refuses it.

    Raises:
        AssertionError: It takes what is out of range, or says it in many words.
    """
    made = MAKERS[kind](kind, rng)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        for path, content in made.files.items():
            place = Path(name) / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        try:
            made.read(Path(name))
        except (ValueError, OSError) as error:
            require_short_line(str(error))
            return str(error)
    return ""


def check_number(seed: int, number: int) -> str:
    """Checks the input of a number."""
    return check(kind_of(seed, number), np.random.default_rng([seed, number]))


def used_kilobytes() -> int:
    """The most memory that the process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def run(seed: int, num: int, report: Callable[[int, Exception], None]) -> Counter[str]:
    """Checks so many inputs; returns how many of each kind there were, refused ones apart."""
    counts: Counter[str] = Counter()
    for number in range(num):
        try:
            refused = check_number(seed, number)
        except Exception as error:
            report(number, error)
            continue
        counts[kind_of(seed, number), "refused" if refused else "taken"] += 1
    return counts


def main() -> int:
    """Runs the script; 1 where an input failed or memory grew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num", type=int, default=10_000, help="inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of one input, with its traceback")
    arguments = parser.parse_args()
    # A warning of numpy's is an overflow that would go on in silence.
    warnings.simplefilter("error", RuntimeWarning)
    if arguments.only is not None:
        print(kind_of(arguments.seed, arguments.only))
        print(check_number(arguments.seed, arguments.only))
        return 0
    failed: list[int] = []

    def report(number: int, error: Exception) -> None:
        failed.append(number)
        said = " ".join(str(error).split())[:300]
        print(f"{number} {kind_of(arguments.seed, number)}: {type(error).__name__} {said}")

    began = time.process_time()
    for kind in MAKERS:
        for number in range(WARM):
            check(kind, np.random.default_rng(number))
    before = used_kilobytes()
    counts = run(arguments.seed, arguments.num, report)
    grown = used_kilobytes() - before
    for kind in MAKERS:
        print(f"{kind:18s} {counts[kind, 'refused']:6d} refused {counts[kind, 'taken']:6d} taken")
    seconds = time.process_time() - began
    print(f"{arguments.num} inputs, {len(failed)} failed, {seconds:.0f} s, {grown} kB more memory")
    return int(bool(failed) or grown > MOST_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
