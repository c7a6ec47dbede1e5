"""The numbers of a study: classifiers are trained, watched, tested and probed, all alike."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from noiseproof import inner_loop
from noiseproof.data import image_shape
from noiseproof.evaluate.protocol import grade
from noiseproof.evaluate.suites import TestSet
from noiseproof.experiment.problem import Problem, on_device
from noiseproof.layouts.layout import fit_layout
from noiseproof.metatrain import recipe_of
from noiseproof.metatrain.sharding import Placement, as_local, over_runs, replicate, spread
from noiseproof.studies import behavior, responses
from noiseproof.types import Batch, Params, Recipe, TensorRole, Theta

NUM_STRETCHES = 40
"""Points of a curve over the run, each the mean of a stretch."""

MOMENTS = (0, 4, 8)
"""Of the states that are kept, those that are probed: after a tenth, a half and nine tenths."""

COASTING_EVERY = 5
QUANTILES = np.linspace(0.0, 1.0, 41)
MOST_UNITS = 12
"""Units of the first layer whose filters are kept, of the first seed."""

MIDDLE = 3
"""The severity at which many optimizers are compared shortly."""


class Parts(NamedTuple):
    """What all optimizers of a study share.

    Attributes:
        problem: What is trained on.
        sets: What is tested on, clean images first.
        keys: One of each seed.
        roles: Of the classifier's tensors, in the order of its leaves.
        respond: `(params, batch, key) -> arrays` of classifiers along the first axis.
    """

    problem: Problem
    sets: Sequence[TestSet]
    keys: Key[Array, " seeds"]
    roles: Sequence[TensorRole]
    respond: Callable[[Params, Batch, PRNGKeyArray], dict[str, Array]]


def parts_of(problem: Problem, sets: Sequence[TestSet], keys: Key[Array, " seeds"]) -> Parts:
    """What all optimizers of a study share."""
    model, norm = problem.model, wave_norm(problem)
    roles = fit_layout(problem.objective.layout, jax.eval_shape(model.init, jax.random.key(0)))

    def one(params: Params, batch: Batch, key: PRNGKeyArray) -> dict[str, Array]:
        found = {
            "fourier": responses.fourier_map(model, params, batch, norm, key),
            "gradient_spectrum": responses.gradient_spectrum(model, params, batch),
            "margins": jnp.quantile(responses.scaled_margins(model, params, batch), QUANTILES),
            "ranks": responses.effective_ranks(model, params, batch),
        }
        filters = [filters for _, filters in filters_of(roles, params)]
        if filters:
            found["bands"] = jnp.stack([responses.band_energies(one) for one in filters])
        return found

    @jax.jit
    def respond(params: Params, batch: Batch, key: PRNGKeyArray) -> dict[str, Array]:
        return jax.lax.map(lambda own: one(own, batch, key), params)

    return Parts(problem, sets, keys, roles, respond)


def filters_of(roles: Sequence[TensorRole], params: Params) -> list[tuple[TensorRole, Array]]:
    """The filters of a classifier, from the first layer on."""
    return [
        (role, responses.filters_of(role, leaf))
        for role, leaf in zip(roles, jax.tree.leaves(params), strict=True)
        if len(role.spatial_shape) == 3
    ]


def labels(parts: Parts, arrays: Mapping[str, np.ndarray]) -> dict[str, list[str | float]]:
    """The labels of the axes of an optimizer's arrays."""
    shapes = jax.eval_shape(parts.problem.model.init, jax.random.key(0))
    paths, _ = jax.tree_util.tree_flatten_with_path(shapes)
    tensors = [
        f"{jax.tree_util.keystr(path, simple=True, separator='/')} ({role.kind})"
        for (path, _), role in zip(paths, parts.roles, strict=True)
    ]
    is_filter = [len(role.spatial_shape) == 3 for role in parts.roles]
    steps = np.array_split(np.arange(parts.problem.objective.num_steps), NUM_STRETCHES)
    found: dict[str, list[str | float]] = {
        "seeds": list(range(len(parts.keys))),
        "tensors": list(tensors),
        "stretches": [float(stretch.mean()) for stretch in steps if stretch.size],
        "moments": [(at + 1) / behavior.NUM_STRETCHES for at in MOMENTS],
        "factors": list(behavior.FACTORS),
        "coasting": list(range(0, behavior.NUM_COASTING + 1, COASTING_EVERY)),
        "filter_layers": [name for name, own in zip(tensors, is_filter, strict=True) if own],
        "bands": ["mean", "to 1/4", "to 1/2", "to 3/4", "to 1"],
        "quantiles": QUANTILES.tolist(),
        "layers": [f"into layer {at + 2}" for at in range(arrays["ranks"].shape[-1])],
    }
    places = {"rows": ("fourier", 1), "columns": ("fourier", 2), "radii": ("gradient_spectrum", 1)}
    names = ("units", "filter_rows", "filter_columns", "channels")
    places |= {name: ("filters", at) for at, name in enumerate(names)}
    for axis, (name, at) in places.items():
        found[axis] = list(range(arrays[name].shape[at])) if name in arrays else []
    return found


def wave_norm(problem: Problem) -> float:
    """Norm of the waves of the Fourier map, in the proportion of 4 to 32×32 pixels."""
    height, width, _ = image_shape(problem.dataset)
    return responses.NORM_PER_PIXEL * (height * width) ** 0.5


def placed(parts: Parts, num_runs: int) -> Placement:
    """Where so many runs are computed."""
    return spread(parts.problem.objective.placement, num_runs)


def studied(parts: Parts, recipe: Recipe) -> dict[str, np.ndarray]:
    """All that a study keeps of one optimizer, by the names of `results.study.ARRAYS`."""
    problem, keys = parts.problem, parts.keys
    task, num_steps = problem.objective.task, problem.objective.num_steps
    placement = placed(parts, len(keys))

    @jax.jit
    def watched(data: Any, keys: Key[Array, " seeds"]) -> tuple[Any, Any, Any]:
        def one(data: Any, key: PRNGKeyArray) -> tuple[Any, Any, Any]:
            seen = behavior.watch(task, recipe, data, num_steps, key)
            states = jax.tree.map(lambda leaf: leaf[np.array(MOMENTS)], seen.states)
            answers = jax.lax.map(
                lambda state: behavior.answers(task, recipe, data, state, key), states
            )
            return seen.run, (seen.weight_norms, seen.update_norms), answers

        return over_runs(one, len(keys), placement)(data, keys)

    run, norms, answers = watched(replicate(problem.data, placement.mesh), keys)
    run, norms, answers = as_local((run, norms, answers))
    clean = parts.sets[0].batch
    found = {
        name: np.asarray(values)
        for name, values in parts.respond(run.params, on_device(clean), keys[0]).items()
    }
    for name, values in zip(("weight_norm", "update_norm"), norms, strict=True):
        stretches = np.array_split(np.asarray(values), NUM_STRETCHES, axis=1)
        found[name] = np.stack([s.mean(axis=1) for s in stretches if s.shape[1]], axis=2)
    found["answer"] = np.asarray(answers.steps)
    found["coasting"] = np.asarray(answers.coasting)[:, :, ::COASTING_EVERY]
    found["accuracy"] = accuracies(parts, run, parts.sets)
    one = jax.tree.map(lambda leaf: leaf[0], run.params)
    for role, filters in filters_of(parts.roles, one):
        if role.kind == "first":
            found["filters"] = np.moveaxis(np.asarray(filters), 3, 0)[:MOST_UNITS]
    return found


def accuracies(
    parts: Parts, run: inner_loop.Run, sets: Sequence[TestSet]
) -> Float[np.ndarray, "sets runs"]:
    """Accuracy of finished runs on each set; that of chance where one diverged."""
    model, chance = parts.problem.model, 1.0 / parts.problem.dataset.num_classes
    found = [np.asarray(grade(model, run.params, one.batch).accuracy) for one in sets]
    return np.where(np.asarray(run.diverged), chance, np.stack(found))


def of_lengths(
    parts: Parts, recipe_for: Callable[[Any], Recipe], lengths: Sequence[int]
) -> list[Float[np.ndarray, "2 seeds"]]:
    """Clean and corrupted accuracy of runs of several lengths, by one program."""
    task, placement = parts.problem.objective.task, placed(parts, len(parts.keys))

    @jax.jit
    def train(data: Any, length: Int[Array, ""], keys: Key[Array, " seeds"]) -> inner_loop.Run:
        def one(shared: Any, key: PRNGKeyArray) -> inner_loop.Run:
            data, length = shared
            recipe = recipe_for(length)

            def one_step(_: Any, carried: tuple[Any, Array]) -> tuple[Any, Array]:
                state, loss = inner_loop.step(task, recipe, carried[0], data, key)
                return state, carried[1] + loss  # not finite from where one is not

            start = inner_loop.init(task, recipe, key), jnp.zeros(())
            state, losses = jax.lax.fori_loop(0, length, one_step, start)
            params = recipe.answer(state.params, state.optimizer_state)
            params = params if task.finish is None else task.finish(params, data, key)
            return inner_loop.Run(params, losses[None], ~jnp.isfinite(losses))

        return over_runs(one, len(keys), placement)((data, length), keys)

    found = []
    for length in lengths:
        shared = replicate((parts.problem.data, jnp.int32(length)), placement.mesh)
        run = as_local(train(*shared, parts.keys))
        clean, *corrupted = accuracies(parts, run, middle_sets(parts.sets))
        found.append(np.stack([clean, np.mean(corrupted, axis=0)]))
    return found


def middle_places(sets: Sequence[TestSet]) -> list[int]:
    """Where clean images stand, and each corruption at the middle severity or at all strengths;
    of what was meta-trained on only if there is nothing else."""
    middle = [at for at, one in enumerate(sets) if one.severity in (None, MIDDLE)]
    unseen = [at for at in middle if sets[at].role != "meta_train"]
    return unseen if len(unseen) > 1 else middle


def middle_sets(sets: Sequence[TestSet]) -> list[TestSet]:
    """The sets at these places."""
    return [sets[at] for at in middle_places(sets)]


def clean_and_middle(
    parts: Parts, accuracy: Float[np.ndarray, "sets seeds"]
) -> Float[np.ndarray, "2 seeds"]:
    """Accuracy on clean images, and its mean over corruptions at the middle severity."""
    clean, *corrupted = accuracy[middle_places(parts.sets)]
    return np.stack([clean, np.mean(corrupted, axis=0)])


def by_family(
    parts: Parts, thetas: Sequence[Theta], on_theta: Callable[[int, int], None]
) -> Float[np.ndarray, "thetas families seeds"]:
    """Accuracy of each theta's classifiers by family of corruptions, at the middle severity.

    Families are in the order of `families_of`; all thetas are trained by one program. `on_theta`
    is called with how many are done, of how many.
    """
    objective, keys = parts.problem.objective, parts.keys
    placement = placed(parts, len(keys))

    @jax.jit
    def train(data: Any, theta: Theta, keys: Key[Array, " seeds"]) -> inner_loop.Run:
        def one(shared: Any, key: PRNGKeyArray) -> inner_loop.Run:
            data, theta = shared
            recipe = recipe_of(objective, theta)
            return inner_loop.train(objective.task, recipe, data, objective.num_steps, key)

        return over_runs(one, len(keys), placement)((data, theta), keys)

    data, sets = replicate(parts.problem.data, placement.mesh), middle_sets(parts.sets)
    of_family = np.array([one.family for one in sets])
    found = []
    for theta in thetas:
        on_theta(len(found), len(thetas))
        theta = replicate(jax.tree.map(jnp.asarray, theta), placement.mesh)
        reached = accuracies(parts, as_local(train(data, theta, keys)), sets)
        families = families_of(sets)
        found.append(np.stack([reached[of_family == one].mean(axis=0) for one in families]))
    return np.stack(found)


def families_of(sets: Sequence[TestSet]) -> list[str]:
    """Families of the middle sets, that of clean images, `none`, first."""
    return list(dict.fromkeys(one.family for one in middle_sets(sets)))


def stacked(rows: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of all optimizers along a first axis."""
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
