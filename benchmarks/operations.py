"""Where the time of an outer step goes, by operation of the compiled program.

JAX's profiler traces some outer steps of the task of `meta_training.py`; what the operations of
the program took is summed by name and given in µs a particle's step, the largest first, with the
shape of the result and the operation of the source that it ends with. Several cores share one
operation or run several at once, so that the sum may exceed the time that went by; and tracing
itself takes some.

    python benchmarks/operations.py --json results/benchmarks/operations.json
"""

import argparse
import gzip
import json
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax

from meta_training import NUM_PAIRS, TRUNCATION, start
from noiseproof.optimizers import LEARNED_OPTIMIZERS
from problems import PROBLEMS, build_objective, random_data
from windows import report

INSTRUCTION = re.compile(r"^ *(?:ROOT )?%(\S+) = (\S+|\(.*?\)) ([\w-]+)\((.*)$", re.M)
OUTER = {"while", "call", "conditional"}
"""Instructions whose time is that of others."""


class Instruction(NamedTuple):
    """Attributes: what it gives, for example `f32[8,2,784,32]`, what it is, and where from."""

    shape: str
    kind: str
    source: str


def instructions(program: str) -> dict[str, Instruction]:
    """Those of a compiled program in text form, by name."""
    found = {}
    for name, shape, kind, rest in INSTRUCTION.findall(program):
        source = re.search(r'op_name="([^"]*)"', rest)
        plain_shape = re.sub(r"\{[^}]*\}|/\*.*?\*/", "", shape)
        where = "/".join(source[1].split("/")[-2:]) if source else ""
        found[name] = Instruction(plain_shape, kind, where)
    return found


def traced_seconds(folder: Path) -> Iterator[tuple[str, float]]:
    """The name of every traced event and its seconds."""
    for path in folder.rglob("perfetto_trace.json.gz"):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            events = json.load(file)["traceEvents"]
        for event in events:
            if event.get("ph") == "X":
                # A GPU names the kernel, and the operation beside it.
                yield event.get("args", {}).get("hlo_op", event["name"]), 1e-6 * event["dur"]


def time_by_operation(
    rule: str, model: str, num_pairs: int, num_outer_steps: int, num_shown: int
) -> dict[str, Any]:
    """The largest operations of outer steps."""
    problem = PROBLEMS[model]
    objective, data = build_objective(problem, rule), random_data(problem)
    started = start(objective, data, num_pairs, TRUNCATION)
    advance = jax.jit(started.advance).lower(started.state, data, started.key).compile()
    state = jax.block_until_ready(advance(started.state, data, started.key))[0]
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, create_perfetto_trace=True):
            began = time.perf_counter()
            for _ in range(num_outer_steps):
                state = jax.block_until_ready(advance(state, data, started.key))[0]
            seconds = time.perf_counter() - began
        traced = list(traced_seconds(Path(folder)))
    known = instructions(advance.as_text() or "")
    spent: defaultdict[str, float] = defaultdict(float)
    for name, duration in traced:
        if name in known and known[name].kind not in OUTER:
            spent[name] += duration
    num_steps = num_outer_steps * started.num_inner_steps
    return {
        "microseconds_a_step": 1e6 * seconds / num_steps,
        "microseconds_of_all_operations": 1e6 * sum(spent.values()) / num_steps,
        "operations": [
            {"name": name, "microseconds": 1e6 * duration / num_steps, **known[name]._asdict()}
            for name, duration in sorted(spent.items(), key=lambda item: -item[1])[:num_shown]
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Where the time of an outer step goes.")
    parser.add_argument("--rule", default="adafac_mlp", choices=LEARNED_OPTIMIZERS)
    parser.add_argument("--model", default="mlp", choices=PROBLEMS)
    parser.add_argument("--pairs", type=int, default=NUM_PAIRS)
    parser.add_argument("--outer-steps", type=int, default=5, help="traced")
    parser.add_argument("--shown", type=int, default=25, help="operations listed")
    parser.add_argument("--json", type=Path, help="file for the record that is printed")
    options = parser.parse_args()
    record = {
        "rule": options.rule,
        "model": options.model,
        "pairs": options.pairs,
        **time_by_operation(
            options.rule, options.model, options.pairs, options.outer_steps, options.shown
        ),
    }
    report(record, options.json)


if __name__ == "__main__":
    main()
