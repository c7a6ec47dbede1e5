"""A residual net with batch norm on CIFAR-10 at 32 × 32: thetas as they are, and tuned optimizers.

Every rival's settings are chosen by a few runs of a tenth of the length, by the cross-entropy on
held-out training images under noise of random spectrum, warps and clean: what thetas were
meta-trained on. A best rate or decay at the end of those that were tried is followed by the next.
All 19 corruptions of CIFAR-10-C are computed with this package, on test images. Thetas are not
tuned.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gpu_contestants import Contestant, learned, rivals
from noiseproof.corruptions import corrupt
from noiseproof.corruptions.families import STANDARD_15, VALIDATION_4
from noiseproof.data.dataset import Dataset
from noiseproof.evaluate.suites import TEST_SEED
from noiseproof.files import write_whole
from noiseproof.inner_loop import InnerState
from noiseproof.layouts.layout import layout_of
from noiseproof.models.resnet import resnet
from noiseproof.models.standardized import channel_statistics, standardized
from noiseproof.tasks.flips_and_crops import flips_and_crops
from noiseproof.tasks.image_classification import to_float
from noiseproof.tasks.mixtures import mix
from noiseproof.tasks.outer_losses import OuterLoss
from noiseproof.types import Batch, Layout, LearnedOptimizer, Model

CALIBRATION_IMAGES = 2048
EVALUATION_BATCH = 1000
CHUNKS = 20
"""Calls that a run is made of: two of them are a trial."""


REPEATED = ("muon", "sgd_nesterov")
"""Rivals that are run under every seed, as the first theta and the best two rivals are."""


class Settings(NamedTuple):
    """The size of the comparison.

    Attributes:
        width: Channels of the first stage, 64 in the published net.
        depth: Layers of the net.
        epochs: Over the training images.
        batch_size: Images a step.
        num_test: Test images, clean and under every corruption and severity.
        seconds: No new run begins after so many.
        flips: Whether training images are flipped and cropped at random.
        augmentation: Whether AugMix is applied after that.
        pool_size: Held-out images, corrupted, that trials are scored on.
        compute_type: Of convolutions.
        patches: Whether convolutions are products of patches, which a CPU is faster with.
        num_corruptions: How many of the 19; fewer to try the script out.
        rivals: Names of hand-designed optimizers, in their order.
        only: Names of contestants, rivals or not, that are run here; empty for all.
        num_threads: Programs that are compiled at once.
        num_seeds: Runs of the first theta and of the strongest rivals; all others have one.
    """

    width: int = 64
    depth: int = 18
    epochs: int = 15
    batch_size: int = 128
    num_test: int = 2000
    seconds: float = 170.0
    flips: bool = True
    augmentation: bool = False
    pool_size: int = 2000
    compute_type: str = "bfloat16"
    patches: bool = False
    num_corruptions: int = 19
    rivals: tuple[str, ...] = ("muon", "sgd_nesterov", "decayed_muon", "adamw", "adam", "sam")
    only: tuple[str, ...] = ()
    num_threads: int = 10
    num_seeds: int = 4


class Programs(NamedTuple):
    """Attributes: `start(values, num_steps, key)`, `chunk(values, state, num_steps, train, index,
    key)`, both of an optimizer."""

    start: Any
    chunk: Any


def training_programs(
    contestant: Contestant, model: Model, layout: Layout, augment: Callable[..., jax.Array]
) -> Programs:
    """What trains by an optimizer; jitted, compiled at the first call."""

    def start(values: Any, num_steps: jax.Array, key: jax.Array) -> InnerState:
        params = model.init(key)
        optimizer = contestant.recipe(values, num_steps, layout).optimizer
        return InnerState(params, optimizer.init(params), jnp.zeros((), jnp.int32))

    def chunk(
        values: Any,
        state: InnerState,
        num_steps: jax.Array,
        train: Batch,
        index: jax.Array,
        key: jax.Array,
    ) -> tuple[InnerState, jax.Array]:
        recipe = contestant.recipe(values, num_steps, layout)

        def one_step(state: InnerState, rows: jax.Array) -> tuple[InnerState, jax.Array]:
            augment_key, perturb_key = jax.random.split(jax.random.fold_in(key, state.step))
            images = augment(to_float(train.images[rows]), augment_key)
            labels = train.labels[rows]

            def loss(params: Any) -> jax.Array:
                logits = (model.apply_train or model.apply)(params, images)
                losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
                return losses.mean()

            def constant_grads(params: Any) -> Any:
                return jax.grad(loss)(jax.lax.stop_gradient(params))

            def perturbed(params: Any) -> jax.Array:
                return loss(recipe.perturb(params, constant_grads, perturb_key))

            value, grads = jax.value_and_grad(perturbed)(state.params)
            updates, after = recipe.optimizer.update(grads, state.optimizer_state, state.params)
            params = optax.apply_updates(state.params, updates)
            return InnerState(params, after, state.step + 1), value

        return jax.lax.scan(one_step, state, index)

    return Programs(jax.jit(start), jax.jit(chunk, donate_argnums=1))


def corrupted_test(dataset: Dataset, names: tuple[str, ...], num_test: int) -> Batch:
    """Clean test images, then every corruption at five severities, as uint8 in one array."""
    images, labels = dataset.test.images[:num_test], dataset.test.labels[:num_test]
    with ThreadPoolExecutor(12) as pool:
        levels = list(
            pool.map(
                lambda name: jnp.stack([corrupt(images, name, s, TEST_SEED) for s in range(1, 6)]),
                names,
            )
        )
    parts = [jnp.asarray(images)[None], *levels]
    return Batch(jnp.concatenate(parts), jnp.asarray(labels))


def conditions(names: tuple[str, ...]) -> list[tuple[str, int]]:
    """What the stretches of the test images are: a corruption and its severity, clean first."""
    return [("clean", 0), *((name, severity) for name in names for severity in range(1, 6))]


def best_of(trials: list[dict[str, float]]) -> dict[str, float]:
    """The trial of the lowest score that is finite."""
    return min(trials, key=lambda one: one["score"] if math.isfinite(one["score"]) else math.inf)


def without_score(trial: dict[str, float]) -> dict[str, float]:
    """The settings of a trial."""
    return {name: value for name, value in trial.items() if name != "score"}


def beyond(
    first: list[dict[str, float]], trials: list[dict[str, float]]
) -> dict[str, float] | None:
    """The best trial with its next rate or decay, by a factor of the ladder's own, where it stands
    at the end of those tried; None where it stands at no end. Decays drawn at random are left."""
    best = best_of(trials)
    for name, value in without_score(best).items():
        ladder, begun = (sorted({one[name] for one in some}) for some in (trials, first))
        if len(ladder) == 1 or (name != "learning_rate" and len(begun) == len(first)):
            continue
        if value == ladder[-1]:
            return {**without_score(best), name: value * value / ladder[-2]}
        if value == ladder[0]:
            return {**without_score(best), name: value * value / ladder[1]}
    return None


def compare(
    dataset: Dataset,
    thetas: Mapping[str, tuple[LearnedOptimizer, Any]],
    controls: Mapping[str, tuple[LearnedOptimizer, Any]],
    loss: OuterLoss,
    settings: Settings,
    out: Path,
    *,
    augmix: Callable[..., jax.Array] | None = None,
) -> None:
    """Runs all contestants and writes `out` after every run; goes on where it was left.

    Args:
        dataset: With its four splits.
        thetas: Name -> rule, one object where it is the same, and weights.
        controls: Likewise, to be run after all others.
        loss: What trials are scored on.
        settings: Sizes.
        out: The record.
        augmix: An image transform after flips and crops; None for none.
    """
    began = time.monotonic()
    names = (*STANDARD_15, *VALIDATION_4)[: settings.num_corruptions]
    shape = tuple(dataset.train.images.shape[1:])
    plain = resnet(
        image_shape=shape,
        num_classes=dataset.num_classes,
        depth=settings.depth,
        width=settings.width,
        patches=settings.patches,
        compute_type=settings.compute_type,
    )
    train = Batch(*map(jnp.asarray, dataset.train))
    model = standardized(plain, *channel_statistics(train.images))
    layout = layout_of(jax.eval_shape(model.init, jax.random.key(0)), shape)
    calibrate = model.calibrate
    num_images = len(dataset.train.labels)
    per_chunk = max(round(settings.epochs * num_images / settings.batch_size / CHUNKS), 1)
    num_steps = per_chunk * CHUNKS

    def augment_one(image: jax.Array, key: jax.Array) -> jax.Array:
        moved = flips_and_crops(image, key) if settings.flips else image
        return moved if augmix is None else augmix(moved, jax.random.fold_in(key, 1))

    def augment(images: jax.Array, key: jax.Array) -> jax.Array:
        return jax.vmap(augment_one)(images, jax.random.split(key, len(images)))

    @jax.jit
    def calibrated(params: Any, images: jax.Array) -> Any:
        return params if calibrate is None else calibrate(params, to_float(images))

    @jax.jit
    def losses_of(params: Any, batch: Batch) -> jax.Array:
        logits = model.apply(params, batch.images)
        return optax.losses.softmax_cross_entropy_with_integer_labels(logits, batch.labels).mean()

    @jax.jit
    def accuracies(params: Any, test: Batch) -> jax.Array:
        def one(images: jax.Array) -> jax.Array:
            logits = model.apply(params, to_float(images))
            return logits.argmax(axis=-1)

        size = math.gcd(EVALUATION_BATCH, test.images.shape[1])
        stretches = test.images.reshape(-1, size, *test.images.shape[2:])
        found = jax.lax.map(one, stretches).reshape(test.images.shape[:2])
        return (found == test.labels).mean(axis=1)

    def chunk_indices(seed: int, num_chunks: int) -> Any:
        generator = np.random.default_rng([seed, num_chunks])
        need = num_chunks * per_chunk * settings.batch_size
        rounds = -(-need // num_images)
        rows = np.concatenate([generator.permutation(num_images) for _ in range(rounds)])[:need]
        return rows.reshape(num_chunks, per_chunk, settings.batch_size).astype(np.int32)

    def run(programs: Programs, values: Any, num_chunks: int, seed: int) -> tuple[Any, Any]:
        key = jax.random.key(seed)
        values = jax.tree.map(jnp.float32, values)
        length = jnp.int32(num_chunks * per_chunk)
        state = programs.start(values, length, key)
        means = []
        for index in chunk_indices(seed, num_chunks):
            state, found = programs.chunk(values, state, length, train, jnp.asarray(index), key)
            means.append(found.mean())
        sample = jnp.asarray(dataset.train.images[:CALIBRATION_IMAGES])
        return calibrated(state.params, sample), [float(mean) for mean in means]

    untuned = {**thetas, **controls}
    learners = {name: Contestant(learned(rule), [one]) for name, (rule, one) in untuned.items()}
    contestants = {
        **{name: learners[name] for name in thetas},
        **{name: rivals()[name] for name in settings.rivals},
        **{name: learners[name] for name in controls},
    }
    unknown = set(settings.only) - set(contestants)
    if unknown:
        known = ", ".join(contestants)
        raise ValueError(f"only must be among {known}, got {', '.join(sorted(unknown))}.")
    contestants = {n: one for n, one in contestants.items() if n in (settings.only or contestants)}
    untuned = {name: one for name, one in untuned.items() if name in contestants}
    # Thetas of one rule share a program.
    firsts = {id(rule): name for name, (rule, _) in reversed(untuned.items())}
    kinds = {name: name for name in contestants}
    kinds |= {name: firsts[id(rule)] for name, (rule, _) in untuned.items()}
    pool = ThreadPoolExecutor(settings.num_threads)

    def compiled(kind: str, contestant: Contestant) -> Programs:
        programs = training_programs(contestant, model, layout, augment)
        values = jax.tree.map(jnp.float32, contestant.trials[0])
        length, key = jnp.int32(num_steps), jax.random.key(0)
        start = programs.start.lower(values, length, key).compile()
        state = jax.eval_shape(programs.start, values, length, key)
        index = jax.ShapeDtypeStruct((per_chunk, settings.batch_size), jnp.int32)
        chunk = programs.chunk.lower(values, state, length, train, index, key).compile()
        print(f"  {kind} compiled after {time.monotonic() - began:.0f} s", flush=True)
        return Programs(start, chunk)

    programs: dict[str, Future[Programs]] = {}
    for name, kind in kinds.items():
        if kind not in programs:
            programs[kind] = pool.submit(compiled, kind, contestants[name])
    draw_key, pool_key = jax.random.split(jax.random.key(7))
    rows = jax.random.permutation(draw_key, len(dataset.outer.labels))[: settings.pool_size]
    outer = Batch(*(jnp.asarray(part)[rows] for part in dataset.outer))
    clean = to_float(outer.images)
    scored = Batch(jax.jit(partial(mix, loss.components))(clean, key=pool_key), outer.labels)
    test = corrupted_test(dataset, names, settings.num_test)
    print(f"  test images after {time.monotonic() - began:.0f} s", flush=True)

    record: dict[str, Any] = {
        "settings": settings._asdict(),
        "net": f"resnet depth {settings.depth} width {settings.width}, batch norm",
        "num_train_images": num_images,
        "num_steps": num_steps,
        "outer_loss": loss.words,
        "conditions": conditions(names),
        "trial_steps": 2 * per_chunk,
        "contestants": {},
    }
    if out.exists():
        record["contestants"] = json.loads(out.read_text())["contestants"]

    def write() -> None:
        record["seconds"] = time.monotonic() - began
        write_whole(out, json.dumps(record))

    def final(name: str, values: Any, seed: int) -> None:
        own = record["contestants"].setdefault(name, {"runs": []})
        if any(done["seed"] == seed for done in own["runs"]):
            return
        started = time.monotonic()
        params, losses = run(programs[kinds[name]].result(), values, CHUNKS, seed)
        accuracy = np.asarray(accuracies(params, test))
        seconds = time.monotonic() - started
        own["runs"].append(
            {
                "seed": seed,
                "seconds": seconds,
                "training_losses": losses,
                "clean": float(accuracy[0]),
                "mean_corrupted": float(accuracy[1:].mean()),
                "accuracies": [round(float(one), 5) for one in accuracy],
            }
        )
        write()
        print(
            f"  {name} seed {seed}: clean {accuracy[0]:.4f}, corrupted {accuracy[1:].mean():.4f},"
            f" {seconds:.1f} s, at {time.monotonic() - began:.0f} s",
            flush=True,
        )

    def tune(name: str) -> Any:
        own = record["contestants"].setdefault(name, {"runs": []})
        trials = own.setdefault("trials", [])
        first = contestants[name].trials
        waiting = first[len(trials) :] or [beyond(first, trials)]
        while waiting[0] is not None:
            params, _ = run(programs[name].result(), waiting[0], 2, 100)
            trials.append({**waiting.pop(0), "score": float(losses_of(params, scored))})
            write()
            waiting = waiting or [beyond(first, trials)]
        chosen = trials.index(best_of(trials))
        if own.get("chosen", chosen) != chosen:
            own["runs"] = []
        own["chosen"] = chosen
        return without_score(best_of(trials))

    chosen: dict[str, Any] = {}
    for name in contestants:
        if time.monotonic() - began > settings.seconds:
            break
        try:
            chosen[name] = contestants[name].trials[0] if name in untuned else tune(name)
            final(name, chosen[name], 0)
        except Exception as error:  # what one optimizer can not do must not cost the others
            record["contestants"][name] = {"failed": repr(error)[:500], "runs": []}
            print(f"  {name} failed: {error!r:.300}", flush=True)
    finished = {
        name: own["runs"][0]["mean_corrupted"]
        for name, own in record["contestants"].items()
        if own["runs"]
    }
    best = sorted((n for n in finished if n not in untuned), key=lambda n: -finished[n])[:2]
    wanted = {next(iter(thetas)), *best, *REPEATED}
    for seed in range(1, settings.num_seeds):
        for name in [name for name in finished if name in wanted]:
            if time.monotonic() - began > settings.seconds:
                break
            final(name, chosen[name], seed)
    write()
