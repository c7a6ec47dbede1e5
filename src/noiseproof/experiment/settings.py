"""The settings of an experiment, as typed frozen values; defaults are the configuration that ships.

Settings stop at `build_experiment`: after it no function sees them. A section that chooses among
components has a `kind` and the options of that kind alone, see `choices`.
"""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from noiseproof.experiment import choices
from noiseproof.experiment.choices import MOST

if TYPE_CHECKING:
    Model: TypeAlias = Struct
    Rule: TypeAlias = Struct
    Estimator: TypeAlias = Struct
    RunLength: TypeAlias = Struct
    Outer: TypeAlias = Struct
    Conditions: TypeAlias = Struct
else:
    Model = reduce(or_, choices.MODEL_CHOICES.values())
    Rule = reduce(or_, choices.RULE_CHOICES.values())
    Estimator = reduce(or_, choices.ESTIMATOR_CHOICES.values())
    RunLength = reduce(or_, choices.RUN_LENGTH_CHOICES.values())
    Outer = reduce(or_, choices.OUTER_CHOICES.values())
    Conditions = reduce(or_, choices.CONDITION_CHOICES.values())

Count: TypeAlias = Annotated[int, Meta(ge=1, le=MOST)]
CountOrNone: TypeAlias = Annotated[int, Meta(ge=0, le=MOST)]
Steps: TypeAlias = Annotated[int, Meta(ge=1, le=100 * MOST)]
Positive: TypeAlias = Annotated[float, Meta(gt=0.0, le=1e6)]
Share: TypeAlias = Annotated[float, Meta(gt=0.0, le=1.0)]
Table: TypeAlias = dict[str, Any]


class Data(Struct, frozen=True, forbid_unknown_fields=True):
    """The data set.

    Attributes:
        name: Name of the data set, or the path of a file or folder of images.
        image_size: Height in pixels that images are shrunk to; 0 leaves them as they are.
        num_classes: How many classes are used, the first ones; 0 for all.
        num_images: Training images at most; 0 for all.
        standardize: Whether classifiers see images less their mean over their spread, by channel.
    """

    name: Annotated[str, Meta(min_length=1, max_length=4096)] = "digits"
    image_size: Annotated[int, Meta(ge=0, le=1024)] = 0
    num_classes: CountOrNone = 0
    num_images: CountOrNone = 0
    standardize: bool = True


class Inner(Struct, frozen=True, forbid_unknown_fields=True):
    """An inner run: the training of one classifier.

    Attributes:
        num_steps: Training steps of a run, 10 at least.
        batch_size: Clean training images of a step.
        augmentations: What training images are put through, one after the other, whoever trains.
    """

    num_steps: Annotated[int, Meta(ge=10, le=100 * MOST)] = 1000
    batch_size: Count = 64
    augmentations: tuple[
        Literal["gaussian_noise", "outer_loss", "augmix", "flips_and_crops"], ...
    ] = ()


class Pool(Struct, frozen=True, forbid_unknown_fields=True):
    """The images that the outer loss is taken on.

    Attributes:
        size: Outer images that are corrupted afresh each outer step.
        batch_size: How many of these one evaluation of the outer loss draws.
    """

    size: Count = 2048
    batch_size: Count = 64


class Window(Struct, frozen=True, forbid_unknown_fields=True):
    """What of a run counts: the mean of the outer loss over its last part.

    Attributes:
        last_share: The share of the run, at its end, whose outer loss counts.
        loss_interval: Steps between two evaluations of the outer loss.
    """

    last_share: Share = 0.2
    loss_interval: Count = 10


class TaskOverlay(Struct, frozen=True, forbid_unknown_fields=True):
    """One of several tasks of meta-training: what it lays over the preset's own sections.

    Attributes:
        weight: Weight of its meta-loss, relative to the other tasks.
        data: Values of the section `data`.
        model: Values of the section `model`.
        inner: Values of the section `inner`.
    """

    weight: Positive = 1.0
    data: Table = {}
    model: Table = {}
    inner: Table = {}


class Reparametrization(Struct, frozen=True, forbid_unknown_fields=True):
    """Random scales of the weights of meta-training's classifiers.

    Attributes:
        level: What has a scale of its own: all weights together (`global`), each `tensor` or each
            `weight`; `none` for no scales.
        low: The least scale.
        high: The greatest scale.
    """

    level: Literal["none", "global", "tensor", "weight"] = "none"
    low: Positive = 1e-3
    high: Positive = 1e3


class MetaTraining(Struct, frozen=True, forbid_unknown_fields=True):
    """Meta-training.

    Attributes:
        num_outer_steps: Outer steps, each an update of theta.
        learning_rate: Peak of the outer Adam's learning rate.
        warmup_share: Share of the outer steps over which the learning rate rises from zero.
        max_norm: Greatest Euclidean norm of a meta-gradient; a longer one is scaled down to it.
        select_every: Outer steps between two scores of theta on the `select` split.
        num_select_runs: Inner runs of a score.
        checkpoint_every: Outer steps between two checkpoints.
        tasks_at_once: Of several tasks, how many take their turn at an outer step; 0 for all.
        start: Shipped optimizers, folders or files, the mean of whose weights meta-training begins
            at; an empty list for the rule's own start.
        grouped: Whether numbers of theta move in groups alone, see `optimizers.groups`.
    """

    num_outer_steps: Steps = 800
    learning_rate: Annotated[float, Meta(gt=0.0, le=100.0)] = 3e-3
    warmup_share: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.05
    max_norm: Positive = 1.0
    select_every: Count = 50
    num_select_runs: Count = 8
    checkpoint_every: Count = 25
    tasks_at_once: Annotated[int, Meta(ge=0, le=64)] = 0
    start: Annotated[tuple[str, ...], Meta(max_length=16)] = ()
    grouped: bool = False


class Tuning(Struct, frozen=True, forbid_unknown_fields=True):
    """The rivals and their search.

    Attributes:
        rivals: The hand-designed optimizers to compare with, see `noiseproof list rivals`.
        matched_rivals: Rivals that are searched once more, over as many inner steps as
            meta-training took.
        num_trials: Points of a search; None for 128, twice as many for rivals with more than five
            knobs, half as many for classifiers with filters.
        num_runs: Runs of each point, one on each of as many pools, the same for all rivals; None
            for 4, half as many for classifiers with filters.
        num_finalists: Best points of a search that are scored again.
        num_final_runs: Runs of each of these.
        augmentations: What training images are put through in a further comparison each, apart:
            `gaussian_noise`, `outer_loss`, `augmix`, `flips_and_crops`; after those
            of `inner`.
        augmented_rivals: The rivals that are tuned with each augmentation.
    """

    rivals: Annotated[tuple[str, ...], Meta(min_length=1)] = (
        "adam",
        "adamw",
        "muon",
        "decayed_muon",
        "sgd",
        "frequency",
        "ema",
        "sam",
        "asam",
        "layer_sam",
        "layer_asam",
        "damp",
        "label_smoothing",
        "dropout",
        "muon_ema",
        "muon_damp",
        "decayed_adam",
        "autoft",
    )
    matched_rivals: tuple[str, ...] = ()
    num_trials: Count | None = None
    num_runs: Count | None = None
    num_finalists: Count = 8
    num_final_runs: Count = 8
    augmentations: tuple[str, ...] = ()
    augmented_rivals: tuple[str, ...] = ("adamw", "muon", "decayed_muon")


class Evaluation(Struct, frozen=True, forbid_unknown_fields=True):
    """The final evaluation.

    Attributes:
        split: The images to test on: `test`, or `select` while rules are developed.
        num_images: How many of them, drawn once and the same for all; 0 for the whole split.
        num_seeds: Inner seeds: how many classifiers each optimizer trains.
    """

    split: Literal["test", "select"] = "test"
    num_images: CountOrNone = 2000
    num_seeds: Annotated[int, Meta(ge=2, le=10_000)] = 20


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """An experiment.

    Attributes:
        data: The data set.
        model: The classifier.
        inner: An inner run.
        outer: The outer loss: a mixture of corrupted and clean images.
        pool: How many images it is taken on.
        window: What of a run counts.
        run_length: How long the runs of meta-training are.
        tasks: Several tasks of meta-training, each a table that is laid over the sections `data`,
            `model` and `inner`; an empty list for the preset's own problem.
        reparametrization: Random scales of the weights.
        rule: The learned optimizer.
        estimator: The estimator of the meta-gradient.
        meta: Meta-training.
        tuning: The rivals and their search.
        conditions: What classifiers are tested on.
        evaluation: The final evaluation.
        controls: Kinds of outer loss that the same rule is meta-trained on for comparison, such as
            `["clean"]`.
        scale: Which of the preset's scales is laid over it, such as `gpu`; empty for none.
    """

    data: Data = Data()
    model: Model = choices.MODEL_CHOICES["mlp"]()
    inner: Inner = Inner()
    outer: Outer = choices.OUTER_CHOICES["spectral"]()
    pool: Pool = Pool()
    window: Window = Window()
    run_length: RunLength = choices.RUN_LENGTH_CHOICES["constant"]()
    tasks: Annotated[tuple[TaskOverlay, ...], Meta(max_length=64)] = ()
    reparametrization: Reparametrization = Reparametrization()
    rule: Rule = choices.RULE_CHOICES["structured"]()
    estimator: Estimator = choices.ESTIMATOR_CHOICES["nres"]()
    meta: MetaTraining = MetaTraining()
    tuning: Tuning = Tuning()
    conditions: Conditions = choices.CONDITION_CHOICES["named"]()
    evaluation: Evaluation = Evaluation()
    controls: Annotated[tuple[str, ...], Meta(max_length=16)] = ()
    scale: str = ""


def as_dict(settings: Settings) -> dict[str, Any]:
    """All settings as JSON has them, tuples as lists: what records and checkpoints keep."""
    return msgspec.json.decode(msgspec.json.encode(settings))
