"""The records as types: fields with their ranges, checked as a file is read or written.

`docs/records.md` says the same in prose. What may not be finite is `null` in JSON, None here.
"""

from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from msgspec import Meta, Struct

Kind = Literal["learned", "initial", "control", "hand", "transferred", "augmented"]
"""What an optimizer is: meta-trained on the outer loss, the same theta before meta-training, the
same rule meta-trained on something else, designed by hand and tuned, the same with the settings
that were tuned where theta was meta-trained, or one of these on images that are corrupted in
training, which sees more than the others."""

Role = Literal["clean", "meta_train", "kin", "validation", "held_out", "published"]
"""What a test condition is to the learned optimizer: no corruption, seen, of a family with
something seen, used while rules were developed, or never met in any way; or images of published
files, which are compared apart, so that no corruption counts twice."""

# On one line, since names stand in tables, figures and messages.
Name: TypeAlias = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]+$", max_length=200)]
Words: TypeAlias = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]+$", max_length=2000)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
Positive: TypeAlias = Annotated[int, Meta(ge=1, le=2**53)]
Seed: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=1e12)]
Difference: TypeAlias = Annotated[float, Meta(ge=-1, le=1)]


class Condition(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a classifier is tested on.

    Attributes:
        corruption: Name of the corruption, `none` for clean images.
        family: Family of the corruption, `none` for clean images.
        role: `clean`, `meta_train`, `kin`, `validation`, `held_out` or `published`.
        severity: 1 to 5; None where the corruption has no severities, and for their mean.
        strength: Size of the corruption in its own unit (a noise's standard deviation in the pixel
            range [0, 1]), 0 for clean images; None where `severity` says it.
    """

    corruption: Name
    family: Name
    role: Role
    severity: Annotated[int, Meta(ge=1, le=5)] | None = None
    strength: Annotated[float, Meta(ge=0, le=1e6)] | None = None


class MetaTraining(Struct, frozen=True, forbid_unknown_fields=True):
    """What meta-training cost.

    Attributes:
        outer_steps: Outer steps taken; 0 where nothing was meta-trained.
        inner_steps: Inner steps over all particles.
        seconds: Wall-clock seconds, compiling included.
        inner_steps_per_second: Inner steps over all particles per second.
        device: What it ran on, in words.
    """

    outer_steps: Count
    inner_steps: Count
    seconds: Seconds | None
    inner_steps_per_second: Seconds | None
    device: str


class OptimizerEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """An optimizer that was compared.

    Attributes:
        name: What it is called in tables and figures.
        kind: `learned`, `initial`, `control`, `hand` or `augmented`.
        tuned_on: What its theta or its knobs were chosen on.
        trials: Settings that were tried in its tuning; 0 where it was not tuned.
        outer_loss: Mean outer loss on the pools and under the seeds of the trials, in nats: of the
            settings that were chosen, or of theta; None where it was not taken.
        settings: What was chosen, by knob; empty where nothing was.
        contains: Names of the optimizers that it contains, from whose settings its tuning began.
        train_seconds: Wall-clock seconds that one classifier took, all seeds trained at once,
            compiling not included; None where it was not taken.
        train_bytes: Memory of training one classifier, its data not included; likewise.
    """

    name: Name
    kind: Kind
    tuned_on: Words
    trials: Count
    outer_loss: float | None = None
    settings: dict[str, float] = {}
    contains: list[Name] = []
    train_seconds: Seconds | None = None
    train_bytes: Count | None = None


class Provenance(Struct, frozen=True, forbid_unknown_fields=True):
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
    seeds: dict[str, list[Seed]]
    packages: dict[str, str]
    python: str
    platform: str
    device: str
    command: str
    config: dict[str, Any]


class Run(Struct, frozen=True, forbid_unknown_fields=True):
    """The content of `run.json`: what was run, and what names the axes of the numbers.

    Attributes:
        experiment: Name of the experiment.
        preset: Name of the preset.
        dataset: Name of the data set.
        model: Name of the classifier.
        num_steps: Inner steps of a run.
        num_images: Test images under each condition.
        num_classes: Classes of the data set; a diverged run counts at chance.
        meta_seed: Seed of meta-training and of the rivals' search.
        meta_training: What meta-training cost.
        provenance: Where it comes from.
        seeds: Seeds of the inner runs, the third axis of the scores.
        optimizers: What was compared, the first axis of the scores.
        conditions: What was tested on, the second axis of the scores.
    """

    experiment: Name
    preset: Name
    dataset: Name
    model: Name
    num_steps: Positive
    num_images: Positive
    num_classes: Positive
    meta_seed: Seed
    meta_training: MetaTraining
    provenance: Provenance
    seeds: Annotated[list[Seed], Meta(min_length=1)]
    optimizers: Annotated[list[OptimizerEntry], Meta(min_length=1)]
    conditions: Annotated[list[Condition], Meta(min_length=1)]


class Scores(NamedTuple):
    """What every classifier reached under every condition; no value depends on another's.

    Attributes:
        right: Test images classified correctly.
        loss: Mean cross-entropy in nats, three digits; infinite or NaN where the run diverged.
        calibration_error: Expected calibration error over 15 bins, 0 to 1, three digits; NaN where
            the run diverged.
        diverged: Whether the training loss became non-finite.
    """

    right: Int[np.ndarray, "optimizers conditions seeds"]
    loss: Float[np.ndarray, "optimizers conditions seeds"]
    calibration_error: Float[np.ndarray, "optimizers conditions seeds"]
    diverged: Bool[np.ndarray, "optimizers seeds"]


class Curves(NamedTuple):
    """Learning curves of inner training, thinned.

    Attributes:
        step: Inner steps, from 0.
        curve: Training loss, mean over seeds, in nats.
        low: Lower end of its 95% t interval; NaN for one seed.
        high: Upper end of its 95% t interval; NaN for one seed.
    """

    step: Int[np.ndarray, " points"]
    curve: Float[np.ndarray, "optimizers points"]
    low: Float[np.ndarray, "optimizers points"]
    high: Float[np.ndarray, "optimizers points"]


class Trials(NamedTuple):
    """How the optimizers were tuned; on the same pools and under the same seeds all.

    Attributes:
        trial_loss: Outer loss of each trial in the order asked, mean over its runs, in nats;
            infinite where one diverged, NaN beyond the last.
        trial_round: The round in which it was asked, 0 of random ones; -1 beyond the last.
        final_loss: Loss on the `select` split of the settings that were chosen, in each of the
            finalists' runs, in nats; NaN where there was none.
    """

    trial_loss: Float[np.ndarray, "optimizers trials"]
    trial_round: Int[np.ndarray, "optimizers trials"]
    final_loss: Float[np.ndarray, "optimizers runs"]


class Samples(NamedTuple):
    """A few test images under some conditions, and what classifiers of the first seed said.

    Attributes:
        sample_image: The corrupted images.
        sample_label: Their classes.
        sample_condition: Places of the conditions in the run's list.
        sample_class: The class that each optimizer's classifier said; -1 where its run diverged.
    """

    sample_image: UInt8[np.ndarray, "shown images height width channels"]
    sample_label: Int[np.ndarray, " images"]
    sample_condition: Int[np.ndarray, " shown"]
    sample_class: Int[np.ndarray, "optimizers shown images"]


class Record(NamedTuple):
    """All that an evaluation leaves, as it is read and written together.

    Attributes:
        run: What was run.
        scores: What the classifiers reached.
        curves: How they were trained.
        trials: How they were tuned; None of older records, which do not say it.
        samples: What they said of a few images; None of older records and of large images.
    """

    run: Run
    scores: Scores
    curves: Curves
    trials: Trials | None = None
    samples: Samples | None = None


class MetricsLine(Struct, frozen=True, forbid_unknown_fields=True):
    """What one outer step of meta-training reported; None in a file where it was not finite.

    Attributes:
        outer_step: From 1.
        meta_loss: Mean outer loss of the particles that did not diverge, in nats.
        select_loss: Outer loss of theta on the `select` split; None where it was not measured.
        inner_steps: Inner steps over all particles since the start.
        seconds: Wall-clock seconds of meta-training since the start, earlier sessions included.
        snr: Signal-to-noise ratio of the meta-gradient; about 1 where there is no signal.
        gradient_norm: Euclidean norm of the meta-gradient before clipping.
        diverged_share: Share of particles whose loss was not finite, 0 to 1.
    """

    outer_step: Count
    meta_loss: float | None
    select_loss: float | None
    inner_steps: Count
    seconds: Seconds
    snr: float | None
    gradient_norm: float | None
    diverged_share: Share | None


class Comparison(Struct, frozen=True, forbid_unknown_fields=True):
    """A learned optimizer against a rival under one condition, paired by seed.

    Attributes:
        learned: Name of the learned optimizer.
        rival: Name of the rival.
        condition: What was tested on; with neither severity nor strength the mean over severities.
        learned_mean: Mean accuracy of the learned optimizer, 0 to 1.
        rival_mean: Mean accuracy of the rival, 0 to 1.
        difference: Mean difference of accuracy, learned minus rival.
        ci95: Ends of the paired 95% t interval of the difference; None for one seed.
        p_holm: Two-sided p value, adjusted by Holm over the corruptions (see `docs/records.md`);
            None for one seed.
        n: Paired seeds.
    """

    learned: Name
    rival: Name
    condition: Condition
    learned_mean: Share
    rival_mean: Share
    difference: Difference
    ci95: tuple[float, float] | None
    p_holm: Share | None
    n: Positive


class Improvement(Struct, frozen=True, forbid_unknown_fields=True):
    """On how many held-out conditions the learned optimizer beats a rival, and by how much.

    Attributes:
        count: Conditions with a mean difference above zero.
        of: Conditions compared: `role` is `held_out` and `severity` None.
        significant: Those counted whose adjusted p value is below 0.05.
        p_sign: Two-sided p value of the sign test over these conditions.
        learned_mean: Mean accuracy of the learned optimizer over them, 0 to 1.
        rival_mean: Mean accuracy of the rival over them, 0 to 1.
        difference: Mean over seeds of learned minus rival.
        ci95: Ends of the paired 95% t interval of the difference; None for one seed.
        n: Paired seeds.
    """

    count: Count
    of: Count
    significant: Count
    p_sign: Share
    learned_mean: Share
    rival_mean: Share
    difference: Difference
    ci95: tuple[float, float] | None
    n: Positive


class TuningCost(Struct, frozen=True, forbid_unknown_fields=True):
    """What tuning a rival costs until it is level with the learned optimizer.

    Attributes:
        trials_to_reach: Trials after which the expected best outer loss is that of the learned
            optimizer or less, of its own search or of that of a rival that it contains; None where
            not even all suffice.
        of: Trials of the search.
        outer_loss: The expected best outer loss after all trials, in nats.
        learned_outer_loss: That of the learned optimizer, on the same pools and seeds.
    """

    trials_to_reach: Count | None
    of: Count
    outer_loss: float
    learned_outer_loss: float


class Summary(Struct, frozen=True, forbid_unknown_fields=True):
    """The content of `summary.json`: what the scores say.

    Attributes:
        held_out_improved: By rival.
        comparisons: The learned optimizer against every other under every condition.
        tuning_costs: By hand-designed rival; empty where the record holds no trials.
    """

    held_out_improved: dict[str, Improvement]
    comparisons: list[Comparison]
    tuning_costs: dict[str, TuningCost] = {}
