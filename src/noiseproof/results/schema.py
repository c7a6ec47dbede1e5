"""The records as types: their fields are the columns, the fields' types what a cell may hold.

`docs/records.md` says the same in prose.
"""

from typing import Any, Literal, NamedTuple

Kind = Literal["learned", "initial", "control", "hand", "augmented"]
"""What an optimizer is: meta-trained on the outer loss, the same theta before meta-training, the
same rule meta-trained on something else, designed by hand and tuned, or one of these on images
that are corrupted in training, which sees more than the others."""

Role = Literal["clean", "meta_train", "kin", "validation", "held_out"]
"""What a test condition is to the learned optimizer: no corruption, seen, of a family with
something seen, used while rules were developed, or never met in any way."""


class ResultRow(NamedTuple):
    """One classifier, trained by one optimizer under one seed, tested on one condition.

    Attributes:
        experiment: Name of the experiment, for example the preset's.
        dataset: Name of the data set.
        model: Name of the classifier.
        optimizer: Name of what trained it.
        kind: `learned`, `initial`, `control`, `hand` or `augmented`.
        tuned_on: What theta or the rival's knobs were chosen on.
        meta_seed: Seed of meta-training or of the rival's search; none where there was neither.
        corruption: Name of the corruption, `none` for clean images.
        family: Family of the corruption, `none` for clean images.
        severity: 1 to 5; none where the corruption has no severities.
        strength: Size of the corruption in its own unit (a noise's standard deviation in the pixel
            range [0, 1]), 0 for clean images; none where `severity` says it.
        role: `clean`, `meta_train`, `kin`, `validation` or `held_out`.
        seed: Seed of the inner run, the same for optimizers that are compared.
        num_steps: Inner steps of the run.
        accuracy: On the test images, 0 to 1; that of chance where the run diverged.
        loss: Mean cross-entropy in nats; infinite or NaN where the run diverged.
        diverged: Whether the inner loss became non-finite.
        calibration_error: Expected calibration error, 0 to 1; NaN where the run diverged, none in
            records of versions that did not take it.
    """

    experiment: str
    dataset: str
    model: str
    optimizer: str
    kind: Kind
    tuned_on: str
    meta_seed: int | None
    corruption: str
    family: str
    severity: int | None
    strength: float | None
    role: Role
    seed: int
    num_steps: int
    accuracy: float
    loss: float
    diverged: bool
    calibration_error: float | None = None


class CurvePoint(NamedTuple):
    """One point of the learning curve of inner training.

    Attributes:
        optimizer: Name of what trained the classifiers.
        step: Inner step, from 0.
        loss: Training loss, mean over seeds, in nats.
        low: Lower end of its 95% t interval; NaN for one seed.
        high: Upper end of its 95% t interval; NaN for one seed.
        n: Seeds in the mean.
    """

    optimizer: str
    step: int
    loss: float
    low: float
    high: float
    n: int


class MetricsLine(NamedTuple):
    """What one outer step of meta-training reported.

    Attributes:
        outer_step: From 1.
        meta_loss: Mean outer loss of the particles that did not diverge, in nats.
        select_loss: Outer loss of theta on the `select` split; none where it was not measured.
        inner_steps: Inner steps over all particles since the start.
        seconds: Wall-clock seconds of meta-training since the start, earlier sessions included.
        snr: Signal-to-noise ratio of the meta-gradient; about 1 where there is no signal.
        gradient_norm: Euclidean norm of the meta-gradient before clipping.
        diverged_share: Share of particles whose loss was not finite, 0 to 1.
    """

    outer_step: int
    meta_loss: float
    select_loss: float | None
    inner_steps: int
    seconds: float
    snr: float
    gradient_norm: float
    diverged_share: float


class MetaTraining(NamedTuple):
    """What meta-training cost.

    Attributes:
        outer_steps: Outer steps taken; 0 where nothing was meta-trained.
        inner_steps: Inner steps over all particles.
        seconds: Wall-clock seconds, compiling included.
        inner_steps_per_second: Inner steps over all particles per second.
        device: What it ran on, in words.
    """

    outer_steps: int
    inner_steps: int
    seconds: float
    inner_steps_per_second: float
    device: str


class OptimizerEntry(NamedTuple):
    """An optimizer that was compared.

    Attributes:
        name: As in the column `optimizer`.
        kind: As in the column `kind`.
        tuned_on: As in the column `tuned_on`.
        trials: Settings that were tried in its tuning; 0 where it was not tuned.
        train_seconds: Wall-clock seconds that one classifier took, all seeds trained at once,
            compiling not included; none where it was not taken.
        train_bytes: Memory of training one classifier, its data not included; likewise.
    """

    name: str
    kind: Kind
    tuned_on: str
    trials: int
    train_seconds: float | None = None
    train_bytes: int | None = None


class Comparison(NamedTuple):
    """A learned optimizer against a rival under one condition, paired by seed.

    Attributes:
        learned: Name of the learned optimizer.
        rival: Name of the rival.
        dataset: As in `results.csv`.
        model: As in `results.csv`.
        corruption: As in `results.csv`.
        family: As in `results.csv`.
        severity: 1 to 5; none where there is none and for the mean over severities.
        strength: As in `results.csv`.
        role: As in `results.csv`.
        learned_mean: Mean accuracy of the learned optimizer, 0 to 1.
        rival_mean: Mean accuracy of the rival, 0 to 1.
        difference: Mean difference of accuracy, learned minus rival.
        ci95: Ends of the paired 95% t interval of the difference; NaN for one seed.
        p_holm: Two-sided p value, adjusted by Holm over the corruptions (see `docs/records.md`);
            NaN for one seed.
        n: Paired seeds.
    """

    learned: str
    rival: str
    dataset: str
    model: str
    corruption: str
    family: str
    severity: int | None
    strength: float | None
    role: Role
    learned_mean: float
    rival_mean: float
    difference: float
    ci95: tuple[float, float]
    p_holm: float
    n: int


class Improvement(NamedTuple):
    """On how many held-out conditions the learned optimizer beats a rival, and by how much.

    What has a default is none in records of versions that did not take it.

    Attributes:
        count: Conditions with a mean difference above zero.
        of: Conditions compared: `role` is `held_out` and `severity` none.
        significant: Those counted whose adjusted p value is below 0.05.
        p_sign: Two-sided p value of the sign test over these conditions.
        learned_mean: Mean accuracy of the learned optimizer over them, 0 to 1.
        rival_mean: Mean accuracy of the rival over them, 0 to 1.
        difference: Mean over seeds of learned minus rival.
        ci95: Ends of the paired 95% t interval of the difference; NaN for one seed.
        n: Paired seeds.
    """

    count: int  # pyright: ignore[reportIncompatibleMethodOverride] -- the name in the file
    of: int
    significant: int
    p_sign: float | None = None
    learned_mean: float | None = None
    rival_mean: float | None = None
    difference: float | None = None
    ci95: tuple[float, float] | None = None
    n: int | None = None


class LedgerLine(NamedTuple):
    """One look at test images: an evaluation on the `test` split.

    Attributes:
        time: When it began, in UTC, ISO 8601.
        preset: As in `summary.json`.
        experiment: As in `results.csv`.
        dataset: As in `results.csv`.
        model: As in `results.csv`.
        rule: Name of the learned rule.
        seed: Of the run.
        code_version: As in `provenance`.
        commit: As in `provenance`.
        command: As in `provenance`.
    """

    time: str
    preset: str
    experiment: str
    dataset: str
    model: str
    rule: str
    seed: int
    code_version: str
    commit: str
    command: str


class Provenance(NamedTuple):
    """Where the records come from. No path of the machine stands in it.

    Attributes:
        code_version: Version of this package.
        commit: Commit of the checkout, with `-dirty` where files were changed; else `unknown`.
        seeds: Seeds by what they are for, such as `meta` and `inner`.
        packages: Version by package name.
        python: Version of Python.
        platform: Operating system and machine type.
        device: What it ran on, in words.
        command: The command line, paths shortened.
        config: All settings of the run.
    """

    code_version: str
    commit: str
    seeds: dict[str, list[int]]
    packages: dict[str, str]
    python: str
    platform: str
    device: str
    command: str
    config: dict[str, Any]


class Summary(NamedTuple):
    """The content of `summary.json`.

    Attributes:
        experiment: As in `results.csv`.
        preset: Name of the preset.
        meta_training: What meta-training cost.
        optimizers: All optimizers in `results.csv`.
        comparisons: Every learned optimizer against every rival under every condition.
        held_out_improved: By rival.
        provenance: Where it comes from.
    """

    experiment: str
    preset: str
    meta_training: MetaTraining
    optimizers: list[OptimizerEntry]
    comparisons: list[Comparison]
    held_out_improved: dict[str, Improvement]
    provenance: Provenance
