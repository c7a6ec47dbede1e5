"""Several tasks in the settings: what each is built of, and meta-training on two of them."""

import math
from pathlib import Path

import jax
import numpy as np
import pytest

from noiseproof.commands.plan import check_memory
from noiseproof.experiment.problem import build_problem
from noiseproof.experiment.settings import Config, TaskConfig, default_config
from noiseproof.experiment.tasks import MetaProblem, build_meta_problem, chance_weight, task_config
from noiseproof.metatrain.footprint import total_bytes
from noiseproof.metatrain.outer_loop import OuterState, Plan, meta_train
from noiseproof.results import read_metrics

TWO_WIDTHS = (
    "tasks=[{model={options={hidden_sizes=[8]}}},"
    "{weight=3, model={options={hidden_sizes=[16]}}, inner={batch_size=16}}]"
)


def test_a_task_lies_over_the_presets_own_sections() -> None:
    config = default_config(
        [
            "data.image_size=4",
            'model.options={hidden_sizes=[32], norm="layer"}',
            "inner.num_steps=50",
        ]
    )
    task = TaskConfig(model={"options": {"hidden_sizes": [8, 8]}}, inner={"batch_size": 7})
    found = task_config(config, task)
    assert found.model.options == {"hidden_sizes": [8, 8], "norm": "layer"}
    assert (found.inner.num_steps, found.inner.batch_size) == (50, 7)
    assert found.data == config.data
    assert found.outer == config.outer
    assert found.tasks == ()
    assert config.model.options["hidden_sizes"] == [32]


def test_another_name_takes_no_options_of_the_presets_own() -> None:
    config = default_config(["data.image_size=4", "model.options={hidden_sizes=[32]}"])
    found = task_config(config, TaskConfig(data={"name": "mnist"}, model={"name": "convnet"}))
    assert (found.data.name, found.data.image_size) == ("mnist", 0)
    assert (found.model.name, found.model.options) == ("convnet", {})


def test_no_task_counts_for_more_because_it_has_more_classes() -> None:
    assert chance_weight(2.0, 10) * math.log(10) == pytest.approx(2.0)


def test_without_tasks_the_problem_is_the_presets_own() -> None:
    config = default_config(["inner.num_steps=20", "estimator.truncation=10"])
    problem = build_problem(config, None)
    meta = build_meta_problem(config, problem, None)
    assert meta.objective.task is problem.objective.task
    assert meta.data is problem.data
    assert meta.select_data is problem.select_data
    theta = problem.objective.learned.init(jax.random.key(0))
    row = meta.objective.learned.init(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, meta.unflatten(row), theta)


def built(*settings: str) -> tuple[Config, MetaProblem]:
    config = default_config(["inner.num_steps=20", "estimator.truncation=10", *settings])
    return config, build_meta_problem(config, build_problem(config, None), None)


def test_tasks_on_one_data_set_share_its_images() -> None:
    """Catches a copy on the device for every width."""
    _, meta = built("estimator.num_pairs=2", TWO_WIDTHS)
    first, second = meta.data
    assert first.inner.images is second.inner.images
    sizes = [
        params[0]["weight"].shape[1]
        for params in jax.eval_shape(meta.objective.task.init, jax.random.key(0))
    ]
    assert sizes == [8, 16]
    assert meta.estimator.num_inner_steps == 2 * (2 * 2 * 10)


def test_memory_is_that_of_all_tasks() -> None:
    """Catches a check of the preset's own problem, which is one of them."""
    widths = ("tasks=[{model={options={hidden_sizes=[8]}}}]", "model.options.hidden_sizes=[16]")
    both, narrow, wide = (
        check_memory(*built("estimator.num_pairs=2", setting))
        for setting in (TWO_WIDTHS.replace("weight=3, ", ""), *widths)
    )
    assert both.params == narrow.params + wide.params
    assert both.carried == narrow.carried + wide.carried
    assert total_bytes(both) > total_bytes(narrow)


def test_reparametrization_reaches_the_estimator_and_not_the_score() -> None:
    _, meta = built("estimator.num_pairs=2", "reparametrization.level=tensor")
    theta = jax.eval_shape(meta.objective.learned.init, jax.random.key(0))
    state = jax.eval_shape(meta.estimator.init, theta, None, jax.random.key(1))
    assert hasattr(state.carry.runs.params, "scales")
    scored = jax.eval_shape(meta.objective.task.init, jax.random.key(0))
    assert not hasattr(scored, "scales")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["tasks=[{weight=0}]"], r"Weights of tasks must be positive, got \[0\.0\]"),
        (["tasks=5"], "tasks must be a list of tables, got 5"),
        (["tasks=[5]"], "tasks must be a section, got 5"),
        (["tasks=[{rule={}}]"], "tasks has no key rule; allowed are weight, data, model, inner"),
        (["tasks=[{model={width=5}}]"], "tasks.model has no key width; allowed are name, options"),
        (["tasks=[{inner={batch_size=0}}]"], "batch_size must be positive, got 0"),
        (["tasks=[{}, {inner={num_steps=40}}]"], r"num_steps must be the same .* \[20, 40\]"),
        (["reparametrization.level=layer"], "level must be one of global, tensor, weight"),
        (["reparametrization={level='tensor', low=0}"], r"Scales must be positive.* 0\.0 to 1000"),
    ],
)
def test_bad_settings(settings: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        built(*settings)


@pytest.mark.slow
def test_meta_training_on_two_widths_resumes_bit_for_bit(tmp_path: Path) -> None:
    """On digits, with batch sizes of their own, under random scales and staggered runs."""
    config = default_config(
        [
            TWO_WIDTHS,
            *("inner.num_steps=20", "outer.loss_interval=5", "outer.pool_size=64"),
            *("estimator.num_pairs=2", "estimator.truncation=10"),
            "reparametrization={level='tensor', low=0.5, high=2}",
        ]
    )
    meta = build_meta_problem(config, build_problem(config, None), None)
    plan = Plan(num_outer_steps=4, learning_rate=0.01, select_every=2, num_select_runs=2)

    def train(folder: Path, stop_after: int) -> OuterState:
        steps = []
        return meta_train(
            meta.objective,
            meta.estimator,
            plan,
            meta.data,
            meta.select_data,
            jax.random.key(0),
            folder=folder,
            resume=True,
            on_metrics=steps.append,
            should_stop=lambda: len(steps) == stop_after,
        )

    whole = train(tmp_path / "whole", 100)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", 2)
    parts = train(tmp_path / "parts", 100)
    for name in ("theta", "best_theta", "best_select_loss"):
        jax.tree.map(np.testing.assert_array_equal, getattr(whole, name), getattr(parts, name))
    first, last = map(meta.unflatten, (whole.initial_theta, whole.theta))
    assert not np.array_equal(last["log_step"], first["log_step"])
    lines = read_metrics(tmp_path / "parts" / "metrics.jsonl")
    assert [line.inner_steps for line in lines] == [
        step * 2 * (2 * 2 * 10) for step in (1, 2, 3, 4)
    ]
    assert np.isfinite([line.meta_loss for line in lines]).all()
