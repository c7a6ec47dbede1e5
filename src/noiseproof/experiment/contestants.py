"""Who takes part in the final evaluation: learned optimizers, tuned rivals, augmented ones.

Tuning is by far the longest part after meta-training: what was found is kept in the folder, so
that a run that is resumed does not search again.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import jax
from jaxtyping import PRNGKeyArray

from noiseproof.evaluate.protocol import Contestant, Trained
from noiseproof.evaluate.scoring import TunedOn, outer_loss
from noiseproof.evaluate.tuning import Budget, Prepared, Tuned, all_drawn, prepare, start_from, tune
from noiseproof.experiment.build import MATCHED, Experiment, Search
from noiseproof.experiment.progress import Progress
from noiseproof.experiment.tuned import recall, remember, search_seed
from noiseproof.metatrain import recipe_by, recipe_of
from noiseproof.metatrain.sharding import spread
from noiseproof.results import Kind, MetaTraining
from noiseproof.rivals import RIVALS
from noiseproof.rivals.ranges import Points
from noiseproof.tasks.image_classification import with_pools_alone
from noiseproof.types import Task, Theta

Result = TypeVar("Result")

NUM_SPREAD = 8
"""Points of a call at least, of which each device takes as many."""

SEARCHES = 2
"""The fold of a seed that is for searches."""


class MetaTrained(NamedTuple):
    """A learned optimizer that is judged.

    Attributes:
        rule: Name of its rule.
        words: The outer loss that it was meta-trained on.
        theta: Its weights.
        initial_theta: The same before meta-training.
        cost: What meta-training cost.
        controls: The same rule meta-trained on something else: `(kind, words, theta)`.
        rivals: Settings of rivals that were tuned on what theta was meta-trained on, by name.
    """

    rule: str
    words: str
    theta: Theta
    initial_theta: Theta
    cost: MetaTraining
    controls: tuple[tuple[str, str, Theta], ...] = ()
    rivals: Mapping[str, Mapping[str, float]] = MappingProxyType({})


def contestants(
    experiment: Experiment,
    learned: MetaTrained,
    folder: Path,
    progress: Progress,
    seed: int,
) -> list[Contestant]:
    """All that take part, the learned optimizer first.

    Args:
        experiment: The experiment.
        learned: The learned optimizer and its controls.
        folder: Where the outcome of each search is kept, and looked for.
        progress: What is told of searches.
        seed: Fixes the searches.
    """
    seed = search_seed(folder, seed)
    with ThreadPoolExecutor(1) as pool:
        # Its program and that of the first search are compiled side by side.
        own = pool.submit(learned_contestants, experiment, learned, seed)
        rivals = rival_contestants(experiment, learned, folder, progress, seed)
    return [
        *own.result(),
        *rivals,
        *transferred_contestants(experiment, learned),
        *augmented_contestants(experiment, learned, folder, progress, seed),
    ]


def learned_contestants(
    experiment: Experiment, learned: MetaTrained, seed: int
) -> list[Contestant]:
    """The learned optimizer, itself before meta-training, and its controls.

    The outer loss of the first is taken where rivals' trials take it.
    """
    objective = experiment.problem.objective
    rule = partial(recipe_by, objective.learned)

    def trained(label: str, kind: Kind, words: str, theta: Theta) -> Contestant:
        task, loss = objective.task, None
        if kind == "learned":
            recipe, num_runs = recipe_of(objective, theta), experiment.budget.num_runs
            loss = outer_loss(tuned_on(experiment, task), recipe, num_runs, search_key(seed))
        return Contestant(label, kind, words, Trained(task, rule, theta), outer_loss=loss)

    return [
        trained(learned.rule, "learned", learned.words, learned.theta),
        trained(f"{learned.rule} initial", "initial", "none", learned.initial_theta),
        *(
            trained(f"{learned.rule} on {kind}", "control", words, theta)
            for kind, words, theta in learned.controls
        ),
    ]


def rival_contestants(
    experiment: Experiment,
    learned: MetaTrained,
    folder: Path,
    progress: Progress,
    seed: int,
) -> list[Contestant]:
    """The hand-designed rivals, tuned on the outer loss."""
    objective, budget = experiment.problem.objective, experiment.budget
    num_steps_a_trial = objective.num_steps * budget.num_runs
    num_matched = max(learned.cost.inner_steps // num_steps_a_trial, 1)
    searches = [
        search._replace(num_trials=search.num_trials or num_matched)
        for search in experiment.searches
    ]
    return tuned_contestants(experiment, searches, "hand", objective.task, folder, progress, seed)


def transferred_contestants(experiment: Experiment, learned: MetaTrained) -> list[Contestant]:
    """Rivals as they were tuned where theta was meta-trained, beside the same tuned here."""
    objective, words = experiment.problem.objective, f"{learned.words}, elsewhere"

    def transferred(name: str, values: Mapping[str, float]) -> Contestant:
        trained = Trained(objective.task, RIVALS[name].recipe, values)
        return Contestant(f"{name} transferred", "transferred", words, trained, knobs=values)

    wanted = [search.label for search in experiment.searches if search.label in learned.rivals]
    return [transferred(name, learned.rivals[name]) for name in wanted]


def augmented_contestants(
    experiment: Experiment,
    learned: MetaTrained,
    folder: Path,
    progress: Progress,
    seed: int,
) -> Iterator[Contestant]:
    """With each augmentation the learned optimizer, as it is, and rivals that are tuned with it."""
    for augmented in experiment.augmented:
        label, task = f"{learned.rule} with {augmented.name}", augmented.objective.task
        rule = partial(recipe_by, augmented.objective.learned)
        trained = Trained(task, rule, learned.theta)
        yield Contestant(label, "augmented", learned.words, trained)
        yield from tuned_contestants(
            experiment, augmented.searches, "augmented", task, folder, progress, seed
        )


def tuned_contestants(
    experiment: Experiment,
    searches: Sequence[Search],
    kind: Kind,
    task: Task,
    folder: Path,
    progress: Progress,
    seed: int,
) -> list[Contestant]:
    """Rivals at the best knobs of their searches, which the folder may know already.

    What others contain is searched first, so that they can begin from it. While one is searched the
    program of the next is compiled.
    """
    problem, order, key = tuned_on(experiment, task), list(RIVALS), search_key(seed)
    in_order = sorted(searches, key=lambda search: order.index(search.rival))
    known = {search.label: recall(folder, search) for search in in_order}
    pools = cache(partial(all_drawn, problem, experiment.budget, key=key))

    def budget_of(search: Search) -> Budget:
        return experiment.budget._replace(num_trials=search.num_trials or 1)

    def prepared(search: Search) -> Prepared:
        return prepare(problem, RIVALS[search.rival], budget_of(search), pools)

    new = [search for search in in_order if known[search.label] is None]
    ready = one_ahead([partial(prepared, search) for search in new])
    found: dict[str, Tuned] = {}
    for search in in_order:
        tuned = known[search.label]
        if tuned is None:
            progress.say(f"tuning {search.label}, {search.num_trials} trials")
            rival = RIVALS[search.rival]
            tuned = tune(
                *(problem, rival, budget_of(search), key),
                name=search.label,
                start=start_from(contained(search), of_its_kind(search, rival.resembles), found),
                prepared=next(ready),
                on_runs=partial(progress.part, f"tuning {search.label}", "runs"),
            )
            remember(folder, search.label, tuned, seed)
        found[search.label] = tuned
        values = "  ".join(f"{knob} {value:.3g}" for knob, value in tuned.values.items())
        progress.say(f"{search.label}: {values}  select loss {tuned.select_loss:.4f}")
    return [
        Contestant(
            search.label,
            kind,
            experiment.problem.outer_loss.words,
            Trained(task, RIVALS[search.rival].recipe, found[search.label].values),
            found[search.label],
            found[search.label].outer_loss,
            found[search.label].values,
            tuple(label for label in contained(search) if label in found),
        )
        for search in searches
    ]


def one_ahead(jobs: Sequence[Callable[[], Result]]) -> Iterator[Result]:
    """What the jobs give, in their order; while a result is worked with, the next is made."""
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[Result]] = deque()
        for job in jobs:
            waiting.append(pool.submit(job))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def search_key(seed: int) -> PRNGKeyArray:
    """The key of all searches of an experiment."""
    return jax.random.fold_in(jax.random.key(seed), SEARCHES)


def tuned_on(experiment: Experiment, task: Task) -> TunedOn:
    """What all searches on a task share."""
    problem = experiment.problem
    objective = problem.objective
    return TunedOn(
        with_pools_alone(task),
        problem.data,
        problem.select_data,
        objective.layout,
        objective.num_steps,
        objective.window,
        spread(objective.placement, NUM_SPREAD),
    )


def contained(search: Search) -> Points:
    """The searches whose points are points of this one, too, by label."""
    if search.label == f"{search.rival}{MATCHED}":
        return {search.rival: dict}
    return of_its_kind(search, RIVALS[search.rival].contains)


def of_its_kind(search: Search, points: Points) -> Points:
    """Points by the labels of the searches that were made as this one was."""
    suffix = search.label.removeprefix(search.rival)
    return {f"{name}{suffix}": translate for name, translate in points.items()}
