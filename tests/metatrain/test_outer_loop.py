import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof.metatrain import Objective, Placement, outer_loop, pes, target_of
from noiseproof.metatrain.outer_loop import OuterState, Plan, meta_train
from noiseproof.tasks.quadratic import QuadraticData, quadratic
from noiseproof.types import Layout, LearnedOptimizer, Optimizer, Theta


def rate_rule() -> LearnedOptimizer:
    """Gradient descent whose learning rate is all that is learned."""

    def optimizer(theta: Theta, _num_steps: int, _layout: Layout) -> Optimizer:
        return optax.sgd(jnp.exp(theta["log_rate"]))

    return LearnedOptimizer(lambda _key: {"log_rate": jnp.log(jnp.array(0.01))}, optimizer)


OBJECTIVE = Objective(quadratic(num_dimensions=3), rate_rule(), None, num_steps=20)
ESTIMATOR = pes(OBJECTIVE, truncation=5, num_pairs=4, std=0.1)
DATA = QuadraticData(jnp.ones(3), jnp.ones(3))
PLAN = Plan(
    num_outer_steps=40,
    learning_rate=0.2,
    select_every=5,
    num_select_runs=2,
    checkpoint_every=3,
)


def run(folder: Path | None = None, *, resume: bool = False, stop_after: int = 1000) -> OuterState:
    steps = []
    return meta_train(
        target_of(OBJECTIVE),
        ESTIMATOR,
        PLAN,
        DATA,
        DATA,
        jax.random.key(0),
        folder=folder,
        resume=resume,
        on_metrics=steps.append,
        should_stop=lambda: len(steps) + 1 >= stop_after,
    )


def lines_of(folder: Path) -> list[dict]:
    return [json.loads(text) for text in (folder / "metrics.jsonl").read_text().splitlines()]


def same(first: OuterState, second: OuterState) -> bool:
    trees = ((state.theta, state.best_theta, state.optimizer_state) for state in (first, second))
    return all(
        np.array_equal(a, b)
        for a, b in zip(*(jax.tree.leaves(tree) for tree in trees), strict=True)
    )


def test_runs_in_turn_and_stacked_end_with_one_theta() -> None:
    """Four steps of 8 runs each; sums in another order, of numbers of size 1."""
    found = []
    for in_turn in (False, True):
        objective = OBJECTIVE._replace(placement=Placement(in_turn=in_turn))
        estimator = pes(objective, truncation=5, num_pairs=4, std=0.1)
        plan = PLAN._replace(num_outer_steps=4)
        found.append(
            meta_train(target_of(objective), estimator, plan, DATA, DATA, jax.random.key(0))
        )
    stacked, in_turn = (jnp.stack([one.theta["log_rate"], one.best_select_loss]) for one in found)
    np.testing.assert_allclose(in_turn, stacked, rtol=1e-5)


def test_a_learning_rate_that_is_too_small_grows() -> None:
    state = run()
    assert int(state.outer_step) == 40
    assert float(state.best_theta["log_rate"]) > np.log(0.05)
    assert float(state.initial_theta["log_rate"]) == pytest.approx(np.log(0.01))


def test_an_outer_step_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a state that changes its type at the first score, so that all is compiled anew."""
    kept: list[outer_loop.Steps] = []
    build = outer_loop.build_steps

    def kept_steps(*given: Any) -> outer_loop.Steps:
        kept.append(build(*given))
        return kept[-1]

    monkeypatch.setattr(outer_loop, "build_steps", kept_steps)
    plan = PLAN._replace(num_outer_steps=4, select_every=2)
    meta_train(target_of(OBJECTIVE), ESTIMATOR, plan, DATA, DATA, jax.random.key(0))
    (steps,) = kept
    assert steps.advance._cache_size() == steps.score._cache_size() == 1


def test_the_first_score_finds_its_program_compiled(caplog: pytest.LogCaptureFixture) -> None:
    """Catches a program that is compiled beside that of an outer step, and then once more."""
    # Scores of their own number of runs: an earlier test has not compiled them.
    plan = PLAN._replace(num_outer_steps=2, num_select_runs=3)
    # For all threads, which `jax.log_compiles` is not.
    jax.config.update("jax_log_compiles", True)
    try:
        meta_train(target_of(OBJECTIVE), ESTIMATOR, plan, DATA, DATA, jax.random.key(0))
    finally:
        jax.config.update("jax_log_compiles", False)
    done = [one.getMessage() for one in caplog.records if "Finished XLA" in one.getMessage()]
    assert sum("jit(score)" in one for one in done) == 1
    assert sum("jit(advance)" in one for one in done) == 1


def test_a_stopped_and_resumed_run_ends_bit_for_bit_the_same(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "parts", resume=True, stop_after=7)
    assert len(lines_of(tmp_path / "parts")) == 21
    parts = run(tmp_path / "parts", resume=True)
    assert same(whole, parts)
    found, expected = (
        [{**line, "seconds": 0} for line in lines_of(tmp_path / name)]
        for name in ("parts", "whole")
    )
    assert found == expected


def test_lines_after_the_last_checkpoint_are_cut_off_at_a_resume(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop_after=7)
    text = (tmp_path / "metrics.jsonl").read_text()
    ahead = json.dumps({**json.loads(text.splitlines()[-1]), "outer_step": 8})
    (tmp_path / "metrics.jsonl").write_text(text + ahead + "\n" + ahead[:20])
    run(tmp_path, resume=True)
    assert [line["outer_step"] for line in lines_of(tmp_path)] == list(range(1, 41))


def test_metrics_say_what_happened(tmp_path: Path) -> None:
    run(tmp_path)
    lines = lines_of(tmp_path)
    assert lines[-1]["inner_steps"] == 40 * ESTIMATOR.num_inner_steps == 40 * 2 * 4 * 5
    scored = [line["outer_step"] for line in lines if line["select_loss"] is not None]
    assert scored == [5, 10, 15, 20, 25, 30, 35, 40]
    assert lines[-1]["select_loss"] < lines[4]["select_loss"]
    assert all(line["diverged_share"] == 0.0 and line["snr"] > 0 for line in lines)


def test_the_best_theta_is_the_one_of_least_select_loss(tmp_path: Path) -> None:
    state = run(tmp_path)
    losses = [line["select_loss"] for line in lines_of(tmp_path) if line["select_loss"] is not None]
    assert float(state.best_select_loss) == pytest.approx(min(losses), rel=1e-6)


def test_without_resume_an_earlier_run_is_begun_anew(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop_after=7)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop_after=4)
    assert len(lines_of(tmp_path)) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_outer_steps": 0}, "num_outer_steps must be positive, got 0"),
        ({"checkpoint_every": 0}, "checkpoint_every must be positive, got 0"),
        ({"learning_rate": 0.0}, r"learning_rate must be positive, got 0\.0"),
        ({"max_norm": -1.0}, r"max_norm must be positive, got -1\.0"),
        ({"warmup_share": 1.0}, r"warmup_share must lie in \[0, 1\), got 1\.0"),
    ],
)
def test_bad_plans_are_named(change: dict, message: str) -> None:
    plan = PLAN._replace(**change)
    with pytest.raises(ValueError, match=message):
        meta_train(target_of(OBJECTIVE), ESTIMATOR, plan, DATA, DATA, jax.random.key(0))
