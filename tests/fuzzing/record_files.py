"""Damaged files of the package's own: theta and card, checkpoints, searches, records, folders."""

import io
import json
import math
import tempfile
import warnings
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fuzzing.cases import Case, Files, changed, damaged, nested, require_short_line
from noiseproof.checkpoint import load_state, save_state
from noiseproof.evaluate.tuning import Tuned
from noiseproof.experiment.build import Search
from noiseproof.experiment.folder import CONFIG_FILE, claim
from noiseproof.experiment.meta_trained import settings_of
from noiseproof.experiment.settings import Settings, as_dict
from noiseproof.experiment.tuned import TUNED_FILE, found_by, recall, remember
from noiseproof.published import FOLDER, met
from noiseproof.report.page import write_report
from noiseproof.results import (
    Condition,
    Curves,
    MetaTraining,
    MetricsLine,
    OptimizerEntry,
    Provenance,
    Record,
    Run,
    Scores,
    read_record,
    write_record,
)
from noiseproof.results.files import READERS, append_metrics, truncate_metrics
from noiseproof.rivals import RIVALS
from noiseproof.seal import seal, sha256
from noiseproof.zoo.loading import load_learned

SHIPPED = "gaussian-digits-mlp"
SEARCH = Search("adam", "adam", 3)
STATE = {"theta": jnp.arange(6.0), "key": jax.random.key(0), "step": 3}


def files_of(folder: Path) -> Files:
    """All files of a folder by their paths."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def pick(names: Any, rng: np.random.Generator) -> str:
    return str(rng.choice(sorted(names)))


def with_damage(files: Files, rng: np.random.Generator) -> Files:
    """One file damaged, missing, or with JSON that is deep or odd in one place."""
    name = pick(files, rng)
    way = rng.random()
    if way < 0.05:
        return {other: content for other, content in files.items() if other != name}
    if name.endswith(("json", "jsonl")) and way < 0.1:
        return files | {name: nested(int(rng.choice([50, 10_000])), rng).encode()}
    if name.endswith("json") and way < 0.7:
        return files | {name: json.dumps(changed(json.loads(files[name]), rng)).encode()}
    return files | {name: damaged(files[name], rng)}


@cache
def theta() -> Files:
    return {
        f"theta.{ending}": (FOLDER / f"{SHIPPED}.{ending}").read_bytes()
        for ending in ("safetensors", "json")
    }


def resealed(weights: bytes, card: Any) -> Files:
    """A pair whose checksums agree, whatever stands in it; no card where JSON can not say it."""
    try:
        sealed = seal({**card, "theta_sha256": sha256(weights)})
    except ValueError:
        sealed = json.dumps(card).encode()
    return {"theta.safetensors": weights, "theta.json": sealed}


def read_theta(folder: Path) -> None:
    loaded = load_learned(folder)
    wanted = jax.eval_shape(loaded.learned.init, jax.random.key(0))
    assert jax.tree.structure(loaded.theta) == jax.tree.structure(wanted)
    for found, like in zip(jax.tree.leaves(loaded.theta), jax.tree.leaves(wanted), strict=True):
        assert found.shape == like.shape
        assert bool(jnp.isfinite(found).all())
    assert all(limits is None or 0 < limits[0] <= limits[1] for limits in met(loaded.card))
    settings_of(loaded, "theta")


def theta_case(kind: str, rng: np.random.Generator) -> Case:
    card = json.loads(theta()["theta.json"])
    weights = theta()["theta.safetensors"]
    if kind == "theta":
        return Case(with_damage(theta(), rng), read_theta)
    if kind == "theta:resealed":
        return Case(resealed(damaged(weights, rng), card), read_theta)
    card = changed(card, rng)
    card = card if isinstance(card, dict) else {"rule": card}
    return Case(resealed(weights, card), read_theta)


@cache
def checkpoints() -> Files:
    with tempfile.TemporaryDirectory() as name:
        for step in (1, 2):
            save_state(name, step, {**STATE, "step": step})
        return files_of(Path(name))


def read_checkpoint(folder: Path) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = load_state(folder, STATE)
    for warning in said:
        require_short_line(str(warning.message))
    step = 0
    if found is not None:
        step, state = found
        assert state["step"] == step
        assert np.array_equal(state["theta"], STATE["theta"])
    # What is passed over is said; a checkpoint without any file is none.
    assert len(said) == 2 - step or not step


def checkpoint_case(_kind: str, rng: np.random.Generator) -> Case:
    """The newest damaged, and mostly the older one too: Orbax, which is slow, is seldom asked."""
    files = dict(checkpoints())
    for step in (2, 1)[: 1 + (rng.random() < 0.9)]:
        name = pick([name for name in files if name.startswith(f"step_0000000{step}")], rng)
        content = damaged(files[name], rng)
        files[name] = content if content != files[name] else content[:-1]
    return Case(files, read_checkpoint)


@cache
def searched() -> Files:
    with tempfile.TemporaryDirectory() as name:
        values = dict.fromkeys(RIVALS["adam"].knobs, 0.01)
        points = {knob: [0.01, 0.02, 0.03] for knob in values}
        found = Tuned(values, 1.0, [1.0, 1.1], points, [1.0, 1.5, 2.0], [0, 0, 1], [])
        remember(Path(name), "adam", found, 0)
        files = files_of(Path(name))
    return files | {CONFIG_FILE: json.dumps(as_dict(Settings())).encode()}


def read_searches(folder: Path) -> None:
    record = as_dict(Settings())
    for tuned in (recall(folder, SEARCH), recall(folder, SEARCH)):
        if tuned is not None:
            assert set(tuned.values) == set(RIVALS["adam"].knobs)
            assert all(map(math.isfinite, tuned.values.values()))
    found_by(folder, record, [SEARCH])


def searches_case(kind: str, rng: np.random.Generator) -> Case:
    files = searched()
    if kind == "tuned":
        return Case(with_damage(files, rng), read_searches)
    values = changed(json.loads(files[TUNED_FILE]), rng)
    values = values if isinstance(values, dict) else {"searches": values}
    try:
        sealed = seal(values)
    except ValueError:
        sealed = json.dumps(values).encode()
    return Case(files | {TUNED_FILE: sealed}, read_searches)


def claim_case(_kind: str, rng: np.random.Generator) -> Case:
    files = with_damage({CONFIG_FILE: searched()[CONFIG_FILE]}, rng)
    return Case(files, lambda folder: claim(folder, as_dict(Settings()), resume=True))


def record() -> Record:
    """Two optimizers, three conditions, three seeds."""
    fog = [Condition("fog", "photometric", "held_out", severity=level) for level in (1, 2)]
    shape = (2, 3, 3)
    points = np.array([[2.25, 0.5]] * 2)
    right = np.arange(18).reshape(shape)
    return Record(
        Run(
            *("test", "test-preset", "digits", "mlp", 20, 100, 10, 0),
            MetaTraining(4, 160, 1.5, 100.0, "1 × cpu (cpu)"),
            Provenance(
                *("0.1.0", "unknown", {"meta": [0]}, {"numpy": "2.0"}, "3.11", "Linux", "cpu"),
                *("noiseproof run", {"inner": {"num_steps": 20}}),
            ),
            [0, 1, 2],
            [
                OptimizerEntry("mine", "learned", "an outer loss", 0),
                OptimizerEntry(
                    *("adam", "hand", "an outer loss", 3, 1.0), settings={"learning_rate": 0.01}
                ),
            ],
            [Condition("none", "none", "clean", strength=0.0), *fog],
        ),
        Scores(right, np.full(shape, 0.5), np.full(shape, 0.25), np.zeros((2, 3), bool)),
        Curves(np.array([0, 10]), points, points * 0.5, points * 2),
    )


@cache
def records() -> Files:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_record(folder, record())
        for step in (1, 2):
            append_metrics(
                folder / "metrics.jsonl", MetricsLine(step, 1.0, None, 9, 1.0, 1.0, 1.0, 0.0)
            )
        write_report(folder)
        files = files_of(folder)
    return {name: content for name, content in files.items() if name in READERS}


def read_records(folder: Path, *, render: bool) -> None:
    for name, read in READERS.items():
        if (folder / name).exists():
            read(folder / name)
    found = read_record(folder)
    truncate_metrics(folder / "metrics.jsonl", 1)
    assert (found.scores.right >= 0).all()
    assert (found.scores.right <= found.run.num_images).all()
    if render:
        write_report(folder)


def odd_arrays(rng: np.random.Generator) -> bytes:
    """The numbers of a record with one array of another type or shape, or one odd value."""
    with np.load(io.BytesIO(records()["results.npz"])) as archive:
        arrays = dict(archive)
    name = pick(arrays, rng)
    array = arrays[name].astype(str(rng.choice(["f8", "f2", "i8", "u1", "?", "c8", "S2"])))
    if rng.random() < 0.3:
        array = array[..., : int(rng.integers(2))]
    if array.size and array.dtype.kind == "f":
        array.flat[int(rng.integers(array.size))] = rng.choice([np.nan, np.inf, -1, 1e300, 1e30])
    content = io.BytesIO()
    np.savez(content, **(arrays | {name: array}))
    return content.getvalue()


def records_case(kind: str, rng: np.random.Generator) -> Case:
    files = records()
    render = kind == "records:report"
    if render or rng.random() < 0.3:
        with np.errstate(all="ignore"):
            files = files | {"results.npz": odd_arrays(rng)} if rng.random() < 0.5 else files
    else:
        files = with_damage(files, rng)
    if render:
        files = files | {
            "run.json": json.dumps(changed(json.loads(files["run.json"]), rng)).encode()
        }
    return Case(files, partial(read_records, render=render))


KINDS = {
    **dict.fromkeys(("theta", "theta:resealed", "card:resealed"), theta_case),
    "checkpoint": checkpoint_case,
    **dict.fromkeys(("tuned", "tuned:resealed"), searches_case),
    "config": claim_case,
    **dict.fromkeys(("records", "records:report"), records_case),
}
