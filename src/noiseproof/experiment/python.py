"""The main job from Python, in three calls: an objective, meta-training, a comparison."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import msgspec
from jaxtyping import PRNGKeyArray

from noiseproof.checkpoint import save_theta
from noiseproof.corruptions.keys import name_key
from noiseproof.data import Dataset, image_shape
from noiseproof.evaluate.conditions import named
from noiseproof.evaluate.protocol import (
    Contestant,
    Trained,
    as_it_is,
    curves,
    judge_all,
    scores,
    trials,
)
from noiseproof.evaluate.samples import samples
from noiseproof.evaluate.scoring import TunedOn, outer_loss
from noiseproof.evaluate.suites import TEST_SEED, TestSet, corrupted, few
from noiseproof.evaluate.tuning import Budget, Tuned, start_from, tune
from noiseproof.experiment.build import has_filters
from noiseproof.experiment.comparison import condition, device_words, entry, provenance
from noiseproof.experiment.problem import on_device
from noiseproof.files import write_whole
from noiseproof.inner_loop import Window, faster_in_turn
from noiseproof.layouts.layout import layout_of
from noiseproof.messages import short
from noiseproof.metatrain import flattened, target_of
from noiseproof.metatrain.builders import EstimatorBuilder
from noiseproof.metatrain.memory import check_runs_fit
from noiseproof.metatrain.objective import Objective, recipe_of
from noiseproof.metatrain.outer_loop import Plan
from noiseproof.metatrain.outer_loop import meta_train as outer_loop
from noiseproof.metatrain.sharding import Placement
from noiseproof.optimizers.augmented import TABLE
from noiseproof.published import check_num_steps
from noiseproof.report.page import render
from noiseproof.report.tables import accuracy_text
from noiseproof.results import MetaTraining, MetricsLine, Record, Run, summarize
from noiseproof.rivals import Rival
from noiseproof.rivals.ranges import usual_num_runs, usual_num_trials
from noiseproof.studies.rule import OF_EPOCHS, rule_of
from noiseproof.tasks.image_classification import Classification, TaskData, with_pools_alone
from noiseproof.tasks.outer_losses import OuterLoss
from noiseproof.types import ImageTransform, LearnedOptimizer, Recipe, Task, Theta
from noiseproof.zoo.cards import LIMITS


class Learned(NamedTuple):
    """A learned optimizer that was meta-trained.

    Attributes:
        objective: What it was meta-trained on.
        theta: Its weights, those of least outer loss on `select`.
        initial_theta: The same before meta-training.
        cost: What meta-training cost.
    """

    objective: Objective
    theta: Theta
    initial_theta: Theta
    cost: MetaTraining

    def recipe(self) -> Recipe:
        """How it trains the classifier that it was meta-trained on."""
        return recipe_of(self.objective, self.theta)

    def save(self, folder: str | Path) -> Path:
        """Writes theta and its card, which `noiseproof.load(folder, ...)` takes.

        Args:
            folder: Where they go; an older pair in it is replaced.

        Returns:
            The file of the weights.

        Raises:
            ValueError: It is of a rule of one's own, which `load` does not know.
        """
        rule = rule_of(self.theta, "this theta")
        about = classification_of(self.objective.task)
        params = jax.eval_shape(about.model.init, jax.random.key(0))
        card = {
            "rule": rule,
            "options": {
                "num_knots": self.theta["step"].shape[-1],
                "augments": TABLE in self.theta,
                **({"counts_epochs": True} if set(OF_EPOCHS) <= set(self.theta) else {}),
            },
            "meta_trained_on": about.outer_loss.words,
            "task": {
                "image_shape": list(about.model.image_shape or ()),
                "model": "own",
                "num_weights": sum(leaf.size for leaf in jax.tree.leaves(params)),
            },
            "num_steps": self.objective.num_steps,
            "meta_training": msgspec.to_builtins(self.cost),
            "limits": LIMITS,
            "provenance": msgspec.to_builtins(provenance({}, {})),
        }
        return save_theta(folder, self.theta, card)


class Result(NamedTuple):
    """What a comparison found; it prints as a table of accuracies. Attributes: `record`."""

    record: Record

    def __str__(self) -> str:
        return accuracy_text(self.record)

    def report(self, path: str | Path) -> Path:
        """Writes the page with all figures and tables; needs the extra `[cli]`."""
        page = Path(path)
        write_whole(page, render(self.record, summarize(self.record), []))
        return page


def objective(
    task: Task,
    learned: LearnedOptimizer,
    *,
    num_steps: int = 1000,
    loss_interval: int = 10,
    last_share: float = 0.2,
) -> Objective:
    """What a learned optimizer is meta-trained on.

    Args:
        task: The inner problem, see `image_classification`.
        learned: The rule, see `structured`.
        num_steps: Length of an inner run, 10 at least.
        loss_interval: Steps between two evaluations of the outer loss; divides the run.
        last_share: The last share of a run whose outer loss counts, in (0, 1].

    Raises:
        ValueError: The run is too short, the task is no classification, or its model does not say
            its `image_shape` or holds no weights, or others than floats.
    """
    check_num_steps(num_steps)
    about = classification_of(task)
    params = jax.eval_shape(about.model.init, jax.random.key(0))
    if about.model.image_shape is None:
        raise ValueError("The model must say its image_shape: Model(init, apply, image_shape=...).")
    images = jax.ShapeDtypeStruct((1, *about.model.image_shape), jnp.float32)
    num_classes = jax.eval_shape(about.model.apply, params, images).shape[-1]
    return Objective(
        task,
        learned,
        layout_of(params, about.model.image_shape, apply=about.model.apply),
        num_steps,
        window=Window(loss_interval, last_share, 1.5 * math.log(num_classes)),
        placement=Placement(in_turn=faster_in_turn(params, jax.default_backend())),
    )


def classification_of(task: Task) -> Classification:
    """What a task of images is about.

    Raises:
        ValueError: It is another task.
    """
    if task.classification is None:
        raise ValueError("The task must be one of image_classification.")
    return task.classification


def meta_train(
    objective: Objective,
    estimator: EstimatorBuilder,
    data: Dataset,
    key: PRNGKeyArray,
    *,
    num_outer_steps: int = 800,
    learning_rate: float = 3e-3,
    folder: str | Path | None = None,
    on_metrics: Callable[[MetricsLine], None] = lambda _line: None,
) -> Learned:
    """Meta-trains a learned optimizer.

    Args:
        objective: What it is meta-trained on.
        estimator: How the meta-gradient is estimated, see `nres`.
        data: The data set; its `test` split is not used.
        key: Fixes everything.
        num_outer_steps: Outer steps.
        learning_rate: Peak of the outer Adam's learning rate.
        folder: Where checkpoints and metrics go, from which it also goes on; none by default.
        on_metrics: Called after every outer step.

    Raises:
        ValueError: Parts do not fit each other, or memory does not suffice.
    """
    flat, unflatten = flattened(objective)
    built, (inner, select) = estimator(flat), task_data(data)
    check_runs_fit([flat], built, inner)
    state = outer_loop(
        target_of(flat),
        built,
        Plan(num_outer_steps, learning_rate),
        inner,
        select,
        key,
        folder=None if folder is None else Path(folder),
        resume=folder is not None,
        on_metrics=on_metrics,
    )
    seconds, inner_steps = float(state.seconds), int(state.outer_step) * built.num_inner_steps
    cost = MetaTraining(
        outer_steps=int(state.outer_step),
        inner_steps=inner_steps,
        seconds=seconds,
        inner_steps_per_second=inner_steps / max(seconds, 1e-9),
        device=device_words(),
    )
    return Learned(objective, unflatten(state.best_theta), unflatten(state.initial_theta), cost)


def task_data(data: Dataset) -> tuple[TaskData, TaskData]:
    """A task's data with the outer split, and with the select split in its place."""
    train, outer, select = (on_device(split) for split in (data.train, data.outer, data.select))
    return TaskData(train, outer), TaskData(train, select)


def test_sets(
    outer_loss: OuterLoss,
    data: Dataset,
    num_images: int,
    corruptions: tuple[str, ...],
    own: Mapping[str, ImageTransform],
) -> list[TestSet]:
    """Test images under named corruptions and one's own."""
    split, num_channels = few(data.test, num_images), image_shape(data)[2]
    conditions = named(corruptions=corruptions, outer_loss=outer_loss, num_channels=num_channels)
    sets = conditions.test_sets(split)
    for name, transform in own.items():
        images = corrupted(split, transform, name_key(name, jax.random.key(TEST_SEED)))
        sets.append(TestSet(name, "own", None, None, "held_out", images))
    return sets


def compare(
    contestants: Mapping[str, Learned | Rival],
    task: Task,
    data: Dataset,
    key: PRNGKeyArray,
    *,
    num_seeds: int = 10,
    num_trials: int | None = None,
    num_images: int = 2000,
    corruptions: tuple[str, ...] = (),
    own: Mapping[str, ImageTransform] | None = None,
) -> Result:
    """Trains the same classifiers with a learned optimizer and with tuned rivals, tests all alike.

    Rivals are tuned on the task's outer loss. Test images are clean, as the outer loss has them,
    and under named corruptions at five severities.

    Args:
        contestants: By name; the first must be meta-trained, all others may be rivals, too. The
            search of a rival begins from those before it, under their own names, that it contains.
        task: What is trained on.
        data: The data set.
        key: Fixes the searches and the runs.
        num_seeds: Classifiers of each, at least 2.
        num_trials: Points of a search; None for 128, twice as many for rivals with more than five
            knobs, half as many for classifiers with filters.
        num_images: Test images, drawn once and the same for all; 0 for all.
        corruptions: Named corruptions; empty for all that fit the images.
        own: One's own by name, which were not meta-trained on: `(image, key) -> image`.

    Raises:
        ValueError: No contestant was meta-trained, or a number is out of range.
    """
    first = next(iter(contestants.values()), None)
    if not isinstance(first, Learned):
        raise ValueError(f"The first contestant must be meta-trained, got {short(first)}.")
    if num_seeds < 2:
        raise ValueError(f"num_seeds must be at least 2, got {num_seeds}.")
    about, objective = classification_of(task), first.objective
    tune_key, judge_key = jax.random.split(key)
    inner, select = task_data(data)
    sets = test_sets(about.outer_loss, data, num_images, corruptions, own or {})
    layout, num_steps, placement = objective.layout, objective.num_steps, objective.placement
    tuned_task, window = with_pools_alone(task), objective.window
    problem = TunedOn(tuned_task, inner, select, layout, num_steps, window, placement)

    filters = has_filters(about.model)
    num_runs = usual_num_runs(has_filters=filters)
    found: dict[str, Tuned] = {}

    def contestant(name: str, part: Learned | Rival) -> Contestant:
        words = about.outer_loss.words
        if isinstance(part, Learned):
            kind = "learned" if part is first else "control"
            recipe = part.recipe()
            loss = outer_loss(problem, recipe, num_runs, tune_key)
            return Contestant(name, kind, words, as_it_is(task, recipe), outer_loss=loss)
        usual = usual_num_trials(part, has_filters=filters)
        budget = Budget(usual if num_trials is None else num_trials, num_runs)
        start = start_from(part.contains, part.resembles, found)
        tuned = found[name] = tune(problem, part, budget, tune_key, name=name, start=start)
        return Contestant(
            *(name, "hand", words, Trained(task, part.recipe, tuned.values)),
            *(tuned, tuned.outer_loss, tuned.values),
            contains=tuple(other for other in part.contains if other in found),
        )

    everyone = [contestant(*item) for item in contestants.items()]
    keys = jax.random.split(judge_key, num_seeds)
    judged = judge_all(
        [one.trained for one in everyone],
        *(about.model, inner, lambda: sets, keys),
        layout=layout,
        num_steps=objective.num_steps,
        num_classes=data.num_classes,
        placement=placement,
    )
    num_tested, seeds = len(sets[0].batch.labels), list(range(num_seeds))
    run = Run(
        experiment="own",
        preset="own",
        dataset=data.name,
        model="own",
        num_steps=objective.num_steps,
        num_images=num_tested,
        num_classes=data.num_classes,
        meta_seed=0,
        meta_training=first.cost,
        provenance=provenance({}, {"inner": seeds}),
        seeds=seeds,
        optimizers=[entry(*pair) for pair in zip(everyone, judged, strict=True)],
        conditions=[condition(test_set) for test_set in sets],
    )
    return Result(
        Record(
            run,
            scores(judged, num_images=num_tested),
            curves(judged, num_steps=objective.num_steps),
            trials(everyone),
            samples(sets, [one.said for one in judged]),
        )
    )
