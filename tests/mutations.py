"""Would the tests notice? Breaks the package in one small place at a time and runs tests on it.

Each row of `mutations.toml` is a small mistake that somebody could make: a piece of the source and
what stands there instead, and the tests that should fail then. A mistake that no test sees has
survived. Run from the root of the checkout:

    python tests/mutations.py                 # all of them
    python tests/mutations.py --only holm     # those whose names hold "holm"
    python tests/mutations.py --check         # whether all still have their place, in a second

The exit code is 1 if one survives that the table does not know as a survivor, 2 if the table is
out of date or its tests fail without any mistake.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
TABLE = Path(__file__).with_name("mutations.toml")

TIMEOUT_SECONDS = 1200
"""Tests that run longer than this on a broken package have noticed it."""


class Mutation(NamedTuple):
    """A mistake.

    Attributes:
        name: What is wrong, in a few words.
        old: A piece of the source that stands there exactly once.
        new: What is put in its place.
        tests: Arguments of pytest: the tests that should fail.
        survives: Why no test sees it, where that is known; else empty.
    """

    name: str
    old: str
    new: str
    tests: tuple[str, ...]
    survives: str = ""


class Outcome(NamedTuple):
    """What became of a mutation.

    Attributes:
        mutation: What was wrong.
        file: Where.
        killer: The first test that failed, or what happened instead; empty if it survived.
        seconds: Processor time of the tests, which other work beside them does not lengthen.
    """

    mutation: Mutation
    file: str
    killer: str
    seconds: float


def read_table(path: Path) -> list[Mutation]:
    """The mutations of a table.

    Raises:
        ValueError: Two have one name, or one asks for tests that the table does not list.
    """
    table = tomllib.loads(path.read_text("utf-8"))
    mutations = []
    for row in table["mutation"]:
        if row["tests"] not in table["tests"]:
            raise ValueError(f"{row['name']}: there are no tests named {row['tests']}.")
        mutations.append(Mutation(**{**row, "tests": tuple(table["tests"][row["tests"]])}))
    names = [mutation.name for mutation in mutations]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"Names must be unique, got {', '.join(sorted(twice))} more than once.")
    return mutations


def place_of(mutation: Mutation, source: Path) -> Path:
    """The one file that holds the old text, wherever it lies.

    Raises:
        ValueError: None does, or it stands there more than once.
    """
    counts = {path: path.read_text("utf-8").count(mutation.old) for path in source.rglob("*.py")}
    found = [path for path, count in counts.items() if count]
    if sum(counts.values()) != 1:
        places = ", ".join(str(path.relative_to(source)) for path in found) or "nowhere"
        raise ValueError(f"{mutation.name}: the old text must stand once in src, got {places}.")
    return found[0]


def first_failure(tests: Sequence[str], source: Path, *, timeout: float | None = None) -> str:
    """The first test that fails on a copy of the package; empty where all pass.

    Raises:
        ValueError: Pytest could not run them.
    """
    words = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
    try:
        done = subprocess.run(
            [*words, *tests],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        return "no end"
    if done.returncode == 0:
        return ""
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.M)
    if done.returncode != 1 or not found:
        raise ValueError(f"pytest could not run {' '.join(tests)}:\n{done.stdout}{done.stderr}")
    return found[1].rpartition("::")[2]


def processor_seconds() -> float:
    """What processes that this one has waited for have taken so far."""
    times = os.times()
    return times.children_user + times.children_system


def attempt(mutation: Mutation, source: Path) -> Outcome:
    """Breaks the copy, runs the tests, and mends it again."""
    path = place_of(mutation, source)
    whole = path.read_text("utf-8")
    began = processor_seconds()
    try:
        path.write_text(whole.replace(mutation.old, mutation.new), "utf-8")
        killer = first_failure(mutation.tests, source, timeout=TIMEOUT_SECONDS)
    finally:
        path.write_text(whole, "utf-8")
    file = path.relative_to(source / "noiseproof").as_posix()
    return Outcome(mutation, file, killer, processor_seconds() - began)


def line_of(outcome: Outcome) -> str:
    """A row of the printed table, in Markdown."""
    mutation, file, killer, seconds = outcome
    words = f"`{killer}`" if killer else f"**survived** {mutation.survives}".rstrip()
    return f"| {mutation.name} | `{file}` | {words} | {seconds:.0f} |"


def main(words: Sequence[str]) -> int:
    """Runs what the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="part of the names to run")
    parser.add_argument("--check", action="store_true", help="only look for the places")
    asked = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        chosen = [mutation for mutation in read_table(TABLE) if asked.only in mutation.name]
        for mutation in chosen:
            place_of(mutation, source)
        if asked.check:
            print(f"{len(chosen)} mutations, each with its place.")
            return 0
        tests = list(dict.fromkeys(test for mutation in chosen for test in mutation.tests))
        if failed := first_failure(tests, source):
            raise ValueError(f"{failed} fails without any mutation: mend that first.")
        print("| what is wrong | file | seen by | seconds |\n|---|---|---|---|", flush=True)
        outcomes = []
        for mutation in chosen:
            outcomes.append(attempt(mutation, source))
            print(line_of(outcomes[-1]), flush=True)
    survivors = [outcome.mutation for outcome in outcomes if not outcome.killer]
    unknown = [mutation.name for mutation in survivors if not mutation.survives]
    minutes = processor_seconds() / 60
    print(f"\n{len(survivors)} of {len(outcomes)} survived; {minutes:.0f} min of processor time.")
    if unknown:
        print(f"No test sees: {'; '.join(unknown)}.")
    return 1 if unknown else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ValueError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
