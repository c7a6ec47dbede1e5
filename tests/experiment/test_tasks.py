"""Several tasks in the settings: what each is built of, and meta-training on two of them."""

import math
from pathlib import Path

import jax
import numpy as np
import pytest

from noiseproof.experiment.meta_problem import (
    MetaProblem,
    build_meta_problem,
    chance_weight,
    with_task,
)
from noiseproof.experiment.meta_trained import judged_alone
from noiseproof.experiment.problem import build_problem
from noiseproof.experiment.reading import with_settings
from noiseproof.experiment.settings import TaskOverlay, as_dict
from noiseproof.metatrain.memory import check_runs_fit
from noiseproof.metatrain.outer_loop import OuterState, Plan, meta_train
from noiseproof.results import read_metrics

TWO_WIDTHS = (
    "tasks=[{model={hidden_sizes=[8]}}, "
    "{weight=3, model={hidden_sizes=[16]}, inner={batch_size=16}}]"
)


def test_a_task_lies_over_the_settings_own_sections() -> None:
    settings = with_settings(
        {},
        ["data.image_size=4", 'model={hidden_sizes=[32], norm="layer"}', "inner.num_steps=50"],
        "settings",
    )
    task = TaskOverlay(model={"hidden_sizes": [8, 8]}, inner={"batch_size": 7})
    found = with_task(settings, task)
    model = as_dict(found)["model"]
    assert model == {"kind": "mlp", "hidden_sizes": [8, 8], "norm": "layer"}
    assert (found.inner.num_steps, found.inner.batch_size) == (50, 7)
    assert found.data == settings.data
    assert found.outer == settings.outer
    assert found.tasks == ()
    assert as_dict(settings)["model"]["hidden_sizes"] == [32]


def test_another_name_takes_no_options_of_the_settings_own() -> None:
    settings = with_settings({}, ["data.image_size=4", "model.hidden_sizes=[32]"], "settings")
    task = TaskOverlay(data={"name": "mnist"}, model={"kind": "convnet", "channels": [4]})
    found = with_task(settings, task)
    assert (found.data.name, found.data.image_size) == ("mnist", 0)
    assert as_dict(found)["model"] == {"kind": "convnet", "channels": [4], "norm": None}


def test_no_task_counts_for_more_because_it_has_more_classes() -> None:
    assert chance_weight(2.0, 10) * math.log(10) == pytest.approx(2.0)


def test_without_tasks_the_problem_is_the_presets_own() -> None:
    settings = with_settings({}, ["inner.num_steps=20", "estimator.truncation=10"], "settings")
    problem = build_problem(settings, None)
    meta = build_meta_problem(settings, problem, None)
    assert meta.objectives[0].task is problem.objective.task
    assert meta.data is problem.data
    assert meta.select_data is problem.select_data
    theta = problem.objective.learned.init(jax.random.key(0))
    row = meta.target.init(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, meta.unflatten(row), theta)


def built(*changes: str) -> MetaProblem:
    small = ("inner.num_steps=20", "estimator.truncation=10", "pool.size=64")
    settings = with_settings({}, [*small, *changes], "settings")
    return build_meta_problem(settings, build_problem(settings, None), None)


def test_tasks_on_one_data_set_share_its_images() -> None:
    """Catches a copy on the device for every width."""
    meta = built("estimator.num_pairs=2", TWO_WIDTHS)
    first, second = meta.data
    assert first.inner.images is second.inner.images
    sizes = [
        jax.eval_shape(one.task.init, jax.random.key(0))[0]["weight"].shape[1]
        for one in meta.objectives
    ]
    assert sizes == [8, 16]
    assert meta.estimator.num_inner_steps == 2 * (2 * 2 * 10)


def test_memory_is_that_of_all_tasks() -> None:
    """Catches a check of the settings' own problem, which is one of them."""
    widths = ("tasks=[{model={hidden_sizes=[8]}}]", "model.hidden_sizes=[16]")
    metas = [built("estimator.num_pairs=2", change) for change in (TWO_WIDTHS, *widths)]
    both, narrow, wide = (
        check_runs_fit(meta.objectives, meta.estimator, meta.data) for meta in metas
    )
    assert both == narrow + wide


def test_reparametrization_reaches_the_estimator_and_not_the_score() -> None:
    meta = built("estimator.num_pairs=2", "reparametrization.level=tensor")
    theta = jax.eval_shape(meta.target.init, jax.random.key(0))
    state = jax.eval_shape(meta.estimator.init, theta, None, jax.random.key(1))
    assert hasattr(state.carry.runs.params, "scales")
    scored = jax.eval_shape(meta.objectives[0].task.init, jax.random.key(0))
    assert not hasattr(scored, "scales")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["tasks=[{weight=0}]"], r"tasks\[0\].weight must be a number > 0.0, got 0"),
        (["tasks=5"], "tasks must be a list, got 5"),
        (["tasks=[5]"], r"tasks\[0\] must be a section, got 5"),
        (["tasks=[{rule={}}]"], r"tasks\[0\] has no key 'rule'; allowed are weight, data, model"),
        (["tasks=[{model={width=5}}]"], "tasks.model has no key 'width'; allowed are kind, hidden"),
        (["tasks=[{inner={batch_size=0}}]"], "batch_size must be a whole number >= 1, got 0"),
        (["tasks=[{}]", "meta.tasks_at_once=2"], "At most 1 tasks can be taken at once, got 2"),
        (["meta.tasks_at_once=2"], "meta.tasks_at_once is of several tasks, and there are none"),
        (["rule.kind=mlp", "meta.grouped=true"], "Only thetas of structured and universal have"),
        (["rule.kind=mlp", "meta.start=['spectral-fashion-mlp']"], "of the rule structured, and m"),
        (["meta.start=['nobody']"], "There is no learned optimizer 'nobody'"),
        (["data.num_classes=11"], r"must lie in \[2, 10\] for digits, got 11"),
        (["reparametrization={level='tensor', low=9, high=1}"], r"Scales must be positive, low at"),
        (
            ["reparametrization.level=tensor", "rule.augments=true", "rule.kind=structured"],
            "for rules that judge the weights they train",
        ),
    ],
)
def test_bad_settings(settings: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        built(*settings)


@pytest.mark.slow
def test_meta_training_on_two_widths_resumes_bit_for_bit(tmp_path: Path) -> None:
    """On digits, with batch sizes of their own, under random scales and staggered runs."""
    meta = built(
        *(TWO_WIDTHS, "window.loss_interval=5", "estimator.num_pairs=2"),
        "reparametrization={level='tensor', low=0.5, high=2}",
    )
    plan = Plan(num_outer_steps=4, learning_rate=0.01, select_every=2, num_select_runs=2)

    def train(folder: Path, stop_after: int) -> OuterState:
        steps = []
        return meta_train(
            meta.target,
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
    assert not np.array_equal(last["step"], first["step"])
    lines = read_metrics(tmp_path / "parts" / "metrics.jsonl")
    assert [line.inner_steps for line in lines] == [
        step * 2 * (2 * 2 * 10) for step in (1, 2, 3, 4)
    ]
    assert np.isfinite([line.meta_loss for line in lines]).all()


def test_what_was_meta_trained_on_many_tasks_is_judged_on_one() -> None:
    """Catches a card of several tasks that no evaluation can be built from."""
    settings = with_settings(
        {},
        [TWO_WIDTHS, "meta={tasks_at_once=1, grouped=true}", 'rule.kind="universal"'],
        "settings",
    )
    found = with_settings(judged_alone(settings), ["inner.num_steps=50"], "settings")
    meta = build_meta_problem(found, build_problem(found, None), None)
    assert len(meta.objectives) == 1
    assert found.rule == settings.rule
