"""The settings of an experiment, as frozen dataclasses read from TOML presets.

Configs stop at the door: commands turn them into components, library functions take plain
arguments. An unknown key, a wrong type or an unknown preset is one `ValueError` that names the
place and what is allowed.
"""

import copy
import dataclasses
import tomllib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

OF_THE_NAMED = {"data": "image_size", "model": "options", "rule": "options"}
"""What belongs to the one that a section names, and goes with it."""

PRESETS = resources.files("noiseproof.experiment") / "presets"
"""The folder of the presets that ship with the package."""


@dataclass(frozen=True)
class DataConfig:
    """The data set.

    Attributes:
        name: Its name, or the path of an .npz.
        image_size: Its side in pixels, 0 as it is.
        standardize: Whether classifiers see images less their mean over their spread.
    """

    name: str = "digits"
    image_size: int = 0
    standardize: bool = False


@dataclass(frozen=True)
class ModelConfig:
    """The classifier: its name, and its builder's options."""

    name: str = "mlp"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class InnerConfig:
    """An inner run: its steps, and the clean images of a step."""

    num_steps: int = 500
    batch_size: int = 32


@dataclass(frozen=True)
class OuterConfig:
    """The outer loss: a mixture of corrupted and clean images.

    Attributes:
        kind: A key of `tasks.outer_losses.OUTER_LOSSES`, each of which takes what it has of these.
        std: Standard deviation of `gaussian` noise, in units of the pixel range.
        std_low: Least standard deviation of `spectral` noise.
        std_high: Greatest.
        exponent_low: Least exponent of its spectrum.
        exponent_high: Greatest.
        num_bands: Parts that its exponents are cut into, a component each.
        clip: Whether noisy pixels are clipped to [0, 1].
        clean_weight: Share of clean images in the loss, 0 to 1.
        warp_weight: Share of smoothly warped images, 0 to 1.
        warp_std: Greatest standard deviation of their displacements, as a share of the image side.
        balance: A key of `tasks.meta_losses.BALANCES`: how components become one loss.
        references: Loss that each component's is taken relative to, by its name; for none or all.
        batch_size: Images of one evaluation.
        pool_size: Images that are corrupted afresh each outer step.
        last_share: The last share of a run that the outer loss is a mean over, in (0, 1].
        loss_interval: Inner steps between two evaluations.
    """

    kind: str = "gaussian"
    std: float = 0.5
    std_low: float = 0.05
    std_high: float = 0.3
    exponent_low: float = 0.0
    exponent_high: float = 3.0
    num_bands: int = 3
    clip: bool = False
    clean_weight: float = 0.0
    warp_weight: float = 0.0
    warp_std: float = 0.1
    balance: str = "mean"
    references: dict[str, Any] = field(default_factory=dict)
    batch_size: int = 64
    pool_size: int = 2048
    last_share: float = 1.0
    loss_interval: int = 10


@dataclass(frozen=True)
class SplitConfig:
    """Which named corruptions are meta-trained on, and which are held out.

    Attributes:
        held_out: A key of `corruptions.SPLITS`; empty where none is meta-trained on.
        left_out: Families that are not meta-trained on either, to develop rules on.
    """

    held_out: str = ""
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskConfig:
    """One of several tasks of meta-training: what it lays over the preset's own sections.

    Attributes:
        weight: Of its meta-loss, relative to the other tasks; positive.
        data: Values of the section `data`.
        model: Values of the section `model`.
        inner: Values of the section `inner`; `num_steps` must be the same for all tasks.
    """

    weight: float = 1.0
    data: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    inner: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ReparametrizationConfig:
    """Random scales of the weights of meta-training's classifiers.

    Attributes:
        level: What has a scale of its own: `global`, `tensor` or `weight`; `none` for no scales.
        low: The smallest scale.
        high: The largest scale.
    """

    level: str = "none"
    low: float = 1e-3
    high: float = 1e3


@dataclass(frozen=True)
class RuleConfig:
    """The learned optimizer: its name, and its builder's options."""

    name: str = "nominal_mlp"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EstimatorConfig:
    """The gradient estimator: its name, and options, of which each takes those that it has.

    Attributes:
        name: A key of `metatrain.ESTIMATORS`.
        truncation: Inner steps a truncation; full-length estimators have none.
        num_pairs: Antithetic pairs, of the estimators that perturb theta.
        num_runs: Inner runs, of those that only go back through them.
        std: Standard deviation of a perturbation of theta.
        run_length: A key of `metatrain.RUN_LENGTHS`; full-length estimators know constant ones.
        run_length_options: Its builder's options.
    """

    name: str = "nres"
    truncation: int = 50
    num_pairs: int = 16
    num_runs: int = 32
    std: float = 0.02
    run_length: str = "constant"
    run_length_options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MetaConfig:
    """Meta-training: see `metatrain.outer_loop.Plan`."""

    num_outer_steps: int = 400
    learning_rate: float = 1e-2
    warmup_share: float = 0.05
    max_norm: float = 1.0
    select_every: int = 50
    num_select_runs: int = 8
    checkpoint_every: int = 25


@dataclass(frozen=True)
class TuningConfig:
    """The rivals and their random search.

    Attributes:
        rivals: Keys of `rivals.RIVALS`.
        matched_rivals: Those searched once more, over as many inner steps as meta-training took.
        num_trials: Random points of a search; 0 for each rival's own number.
        num_finalists: Best points that are scored again.
        num_final_runs: Runs of each.
        augmentations: Keys of `commands.contestants.AUGMENTATIONS`, compared apart.
        augmented_rival: The rival that is tuned with each, beside the learned optimizer.
    """

    rivals: tuple[str, ...] = ("adam", "adamw")
    matched_rivals: tuple[str, ...] = ()
    num_trials: int = 64
    num_finalists: int = 5
    num_final_runs: int = 5
    augmentations: tuple[str, ...] = ()
    augmented_rival: str = "adamw"


@dataclass(frozen=True)
class EvaluationConfig:
    """The final evaluation.

    Attributes:
        suite: A key of `evaluate.suites.SUITES`: `noise_scales` or `named` corruptions.
        split: `test`, or `select` while rules are developed.
        strengths: Noise scales.
        corruptions: Named corruptions, all that fit the images where there are none.
        validation: Those of them that rules were developed on, reported apart.
        num_images: Test images, drawn once and the same for all; 0 for the whole split.
        num_seeds: Inner seeds.
    """

    suite: str = "noise_scales"
    split: str = "test"
    strengths: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
    corruptions: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    num_images: int = 0
    num_seeds: int = 10


@dataclass(frozen=True)
class Config:
    """An experiment.

    `controls` are kinds of outer loss that the same rule is meta-trained on for comparison, `scale`
    names what of a preset's `scales` is laid over it.
    """

    experiment: str = "gaussian"
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    inner: InnerConfig = InnerConfig()
    outer: OuterConfig = OuterConfig()
    split: SplitConfig = SplitConfig()
    tasks: tuple[TaskConfig, ...] = ()
    reparametrization: ReparametrizationConfig = ReparametrizationConfig()
    rule: RuleConfig = RuleConfig()
    estimator: EstimatorConfig = EstimatorConfig()
    meta: MetaConfig = MetaConfig()
    tuning: TuningConfig = TuningConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    controls: tuple[str, ...] = ()
    scale: str = ""


def preset_names() -> list[str]:
    """The presets that ship with the package."""
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in PRESETS.iterdir()
        if entry.name.endswith(".toml")
    )


def load_preset(name: str, settings: Sequence[str] = ()) -> Config:
    """A preset with `section.key=value` settings laid over it.

    Raises:
        ValueError: Unknown preset or key, a value of the wrong type, or a setting of another form.
    """
    if name not in preset_names():
        raise ValueError(f"The preset must be one of {', '.join(preset_names())}, got {name}.")
    text = (PRESETS / f"{name}.toml").read_text("utf-8")
    return with_settings(tomllib.loads(text), settings, name)


def default_config(settings: Sequence[str]) -> Config:
    """The defaults of every section with `section.key=value` settings laid over them."""
    return with_settings({}, settings, "settings")


def with_settings(values: dict[str, Any], settings: Sequence[str], place: str) -> Config:
    """A config from nested values with settings laid over them; `place` is for messages.

    The scale is laid over first, then names, then all else, in whatever order they come.
    """
    values = copy.deepcopy(values)
    scales = values.pop("scales", {})
    for setting in sorted(settings, key=precedence):
        apply_setting(values, setting)
        if precedence(setting) == 0:
            lay_over(values, scale_of(scales, values["scale"], place))
    return build(Config, values, place)


def precedence(setting: str) -> int:
    """0 for the scale, 1 for the name of a section, 2 for all else."""
    place = setting.partition("=")[0].strip()
    return 0 if place == "scale" else 2 - place.endswith(".name")


def scale_of(scales: Mapping[str, Any], name: str, place: str) -> Mapping[str, Any]:
    """The values of a scale, of those that a preset has.

    Raises:
        ValueError: It has no such scale.
    """
    if name not in scales:
        raise ValueError(f"scale must be one of {', '.join(scales) or '-'} in {place}, got {name}.")
    return scales[name]


def lay_over(values: dict[str, Any], above: Mapping[str, Any]) -> None:
    """Lays nested values over others; what they do not name stays."""
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(values.get(key), dict):
            lay_over(values[key], value)
        else:
            values[key] = value


def apply_setting(values: dict[str, Any], setting: str) -> None:
    """Lays one `section.key=value` over nested values; the value is TOML, or else a bare text.

    Another name of a section drops what in it was the old one's (`OF_THE_NAMED`).
    """
    place, equals, text = setting.partition("=")
    *sections, key = place.strip().split(".")
    if not equals or not all((*sections, key)):
        raise ValueError(f"A setting must have the form section.key=value, got {setting}.")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ValueError(f"{section} is no section, in the setting {setting}.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    if key == "name" and value != values.get(key):
        values.pop(OF_THE_NAMED.get(".".join(sections), ""), None)
    values[key] = value


def build(kind: Any, values: Mapping[str, Any], place: str) -> Any:
    """A config dataclass from nested values, checked key by key.

    Args:
        kind: The dataclass.
        values: Its values by name; those left out keep their defaults.
        place: Where they stand, for messages.

    Raises:
        ValueError: An unknown key, or a value of the wrong type.
    """
    hints = typing.get_type_hints(kind)
    for key in values:
        if key not in hints:
            raise ValueError(f"{place} has no key {key}; allowed are {', '.join(hints)}.")
    parts = {key: convert(hints[key], value, f"{place}.{key}") for key, value in values.items()}
    return kind(**parts)


def convert(hint: Any, value: Any, place: str) -> Any:
    """A value as the type that a field asks for; a whole number may stand for a float."""
    if dataclasses.is_dataclass(hint):
        if isinstance(value, Mapping):
            return build(hint, value, place)
        raise ValueError(f"{place} must be a section, got {value!r}.")
    kind = typing.get_origin(hint) or hint
    if kind is tuple and isinstance(value, list | tuple):
        return tuple(convert(typing.get_args(hint)[0], part, place) for part in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise ValueError(f"{place} must be {type_words(hint)}, got {value!r}.")


def type_words(hint: Any) -> str:
    """A type in words, for messages."""
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    kind = typing.get_origin(hint) or hint
    if kind is tuple:
        part = type_words(typing.get_args(hint)[0]).removeprefix("a ")
        return f"a list of {part}s"
    return words.get(kind, "a table")


def as_dict(config: Config) -> dict[str, Any]:
    """All settings as nested dicts, tuples as lists: what records and checkpoints keep."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(part) for key, part in value.items()}
        return [plain(part) for part in value] if isinstance(value, list | tuple) else value

    return plain(dataclasses.asdict(config))
