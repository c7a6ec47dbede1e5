"""Sections of the settings that choose a component: `kind`, and the options of that kind alone.

The options are those of the builder's signature, so that a component that is added by one file and
one dict row is a choice at once. Every number has a range, checked as it is read; what depends on
other settings is checked by the builder.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any, get_args, get_origin

import msgspec
from msgspec import Meta

from noiseproof.evaluate.conditions import CONDITIONS
from noiseproof.metatrain import ESTIMATORS, RUN_LENGTHS
from noiseproof.models import MODELS
from noiseproof.optimizers import LEARNED_OPTIMIZERS
from noiseproof.tasks.outer_losses import OUTER_LOSSES

MOST = 1_000_000
"""No count and no size of a setting is above it."""

Builders = Mapping[str, Callable[..., Any]]

RANGES = {
    int: Annotated[int, Meta(ge=1, le=MOST)],
    # Finite, too: a comparison with nan is never true.
    float: Annotated[float, Meta(ge=0.0, le=1e3)],
}
"""What a setting takes where a builder's option is of a type: counts, and sizes of something."""

SHARE_RANGES = {**RANGES, float: Annotated[float, Meta(ge=0.0, le=1.0)]}
SHARES = ("clean", "warped")
"""Options that are shares of a whole."""

MOST_ENTRIES = Meta(max_length=64)
"""Of a list."""


def bounded(hint: Any, ranges: Mapping[Any, Any]) -> Any:
    """A type with its numbers in their ranges, within tuples and unions, too."""
    if hint in ranges:
        return ranges[hint]
    parts = tuple(part if part is ... else bounded(part, ranges) for part in get_args(hint))
    origin = get_origin(hint)
    if not parts or origin is None:
        return hint
    if origin is not tuple:
        return reduce(or_, parts)
    listed = tuple.__class_getitem__(parts)
    return Annotated[listed, MOST_ENTRIES] if ... in parts else listed


def options(
    kind: str, builder: Callable[..., Any], given: Sequence[str], defaults: Mapping[str, Any]
) -> type[msgspec.Struct]:
    """The settings of one kind: those of its builder's arguments that are not given elsewhere."""
    fields = []
    for name, parameter in inspect.signature(builder).parameters.items():
        if name in given:
            continue
        default = defaults.get(name, parameter.default)
        required = default is inspect.Parameter.empty
        hint = bounded(parameter.annotation, SHARE_RANGES if name in SHARES else RANGES)
        fields.append((name, hint) if required else (name, hint, default))
    return msgspec.defstruct(
        kind,
        fields,
        frozen=True,
        forbid_unknown_fields=True,
        kw_only=True,
        tag_field="kind",
        tag=kind,
        namespace={"__doc__": inspect.getdoc(builder)},
    )


def choices(
    builders: Builders, *, given: Sequence[str] = (), **defaults: Any
) -> dict[str, type[msgspec.Struct]]:
    """The settings of every kind.

    Args:
        builders: By kind.
        given: Their arguments that are no settings.
        defaults: Of arguments that have none, or another here.
    """
    return {kind: options(kind, one, given, defaults) for kind, one in builders.items()}


def built(builders: Builders, chosen: msgspec.Struct, **given: Any) -> Any:
    """The component that a section of the settings stands for.

    Args:
        builders: By kind.
        chosen: The section.
        given: Arguments that are no settings; a builder takes those that it knows.

    Raises:
        ValueError: What the builder itself finds wrong.
    """
    builder = builders[kind_of(chosen)]
    known = inspect.signature(builder).parameters
    taken = {name: value for name, value in given.items() if name in known}
    return builder(**taken, **msgspec.structs.asdict(chosen))


def kind_of(chosen: msgspec.Struct) -> str:
    """The kind that a section of the settings chose."""
    return str(chosen.__struct_config__.tag)


MODEL_CHOICES = choices(MODELS, given=("image_shape", "num_classes"))
RULE_CHOICES = choices(LEARNED_OPTIMIZERS, given=("steps_per_epoch",))
ESTIMATOR_CHOICES = choices(
    ESTIMATORS, given=("objective",), truncation=50, num_pairs=16, num_runs=32, std=0.05
)
RUN_LENGTH_CHOICES = choices(RUN_LENGTHS, given=("num_steps",))
OUTER_CHOICES = choices(OUTER_LOSSES, given=("num_channels",))
CONDITION_CHOICES = choices(CONDITIONS, given=("num_channels", "outer_loss", "developing"))
