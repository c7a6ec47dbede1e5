"""Settings from nested values: presets, scales and `section.key=value`, checked as they are read.

What is wrong is one `ValueError` that names the place, what is allowed and what came.
"""

import copy
import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Annotated, Any

import msgspec

from noiseproof.experiment.settings import Settings, as_dict
from noiseproof.messages import did_you_mean, short

PRESETS = resources.files("noiseproof.experiment") / "presets"
"""The folder of the presets that ship with the package."""

OF_THE_NAMED = {"data": "image_size"}
"""What belongs to the one that a section names, and goes with it."""

TYPE_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "a section",
    "null": "none",
}
"""Types in words, for messages."""


def preset_names() -> list[str]:
    """The presets that ship with the package."""
    names = (entry.name for entry in PRESETS.iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def load_preset(name: str, settings: Sequence[str] = ()) -> Settings:
    """A preset with `section.key=value` settings laid over it.

    Raises:
        ValueError: Unknown preset or key, a value of the wrong type or out of range, or a setting
            of another form.
    """
    if name not in preset_names():
        raise ValueError(
            f"The preset must be one of {', '.join(preset_names())}, got {short(name)}."
            + did_you_mean(name, preset_names())
        )
    text = (PRESETS / f"{name}.toml").read_text("utf-8")
    return with_settings(tomllib.loads(text), settings, name)


def with_settings(values: Mapping[str, Any], settings: Sequence[str], place: str) -> Settings:
    """Settings from nested values with others laid over them; `place` is for messages.

    The scale is laid over first, then names and kinds, then all else, in whatever order they come.
    """
    nested: dict[str, Any] = copy.deepcopy(dict(values))
    scales = nested.pop("scales", {})
    for setting in sorted(settings, key=precedence):
        apply_setting(nested, setting)
        if precedence(setting) == 0:
            lay_over(nested, scale_of(scales, nested["scale"], place))
    return converted(with_kinds(nested), Settings, place)


def precedence(setting: str) -> int:
    """0 for the scale, 1 for the name or kind of a section, 2 for all else."""
    place = setting.partition("=")[0].strip()
    return 0 if place == "scale" else 2 - place.endswith((".name", ".kind"))


def scale_of(scales: Mapping[str, Any], name: Any, place: str) -> Mapping[str, Any]:
    """The values of a scale, of those that a preset has.

    Raises:
        ValueError: It has no such scale.
    """
    if not scales:
        raise ValueError(f"{place} has no scales, got scale = {short(name)}.")
    if not isinstance(name, str) or name not in scales:
        allowed = ", ".join(scales)
        raise ValueError(
            f"scale must be one of {allowed} in {place}, got {short(name)}."
            + did_you_mean(name, scales)
        )
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

    TOML has nothing for None, which is written `none` where it is allowed. Another name of a
    section drops what in it was the old one's (`OF_THE_NAMED`); of another kind stays what the new
    kind takes, too.
    """
    place, equals, text = setting.partition("=")
    *sections, key = place.strip().split(".")
    root = values
    if not equals or not all((*sections, key)):
        raise ValueError(f"A setting must have the form section.key=value, got {short(setting)}.")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ValueError(f"{section} is no section, in the setting {short(setting)}.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        value = text.strip()
    if key == "name" and value != values.get(key):
        values.pop(OF_THE_NAMED.get(".".join(sections), ""), None)
    if key == "kind" and len(sections) == 1:
        for name in [name for name in values if not takes(sections[0], value, name, values[name])]:
            values.pop(name)
    if value == "none" and allows_none(with_kinds(copy.deepcopy(root)), (*sections, key)):
        value = None
    values[key] = value


def takes(section: str, kind: Any, name: str, value: Any) -> bool:
    """Whether a section of a kind has a key of a name and takes such a value there."""
    try:
        msgspec.convert({section: {"kind": kind, name: value}}, Settings)
    except msgspec.ValidationError as error:
        return "missing required field" in str(error)  # another key's
    return True


def with_kinds(values: dict[str, Any]) -> dict[str, Any]:
    """Nested values in which every section of a kind says it, by default the default's."""
    for name, section in as_dict(Settings()).items():
        given = values.get(name)
        if isinstance(section, dict) and "kind" in section and isinstance(given, dict):
            values[name] = {"kind": section["kind"], **given}
    return values


def converted(values: Any, kind: Any, place: str) -> Any:
    """Nested values as a type of `msgspec`.

    Args:
        values: As JSON or TOML has them.
        kind: A `msgspec.Struct`, or any other type that it knows.
        place: Where they stand, for messages.

    Raises:
        ValueError: An unknown key, a value of the wrong type or out of range.
    """
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise ValueError(explained(str(error), values, kind, place)) from None
    except RecursionError:
        raise ValueError(f"{place} is nested too deep.") from None


def explained(message: str, values: Any, kind: Any, place: str) -> str:
    """What `msgspec` finds wrong, with the place, what is allowed and what came."""
    what, _, path = message.partition(" - at `$")
    steps = tuple(re.findall(r"\w+|\[(?:\d+|\.\.\.)\]", path.rstrip("`")))
    where = ".".join((place, *steps)).replace(".[", "[")
    unknown = re.match(r"Object contains unknown field `(.*)`", what, re.S)
    if unknown:
        allowed = fields_of(kind, values, steps)
        near = did_you_mean(unknown[1], allowed)
        return f"{where} has no key {short(unknown[1])}; allowed are {', '.join(allowed)}.{near}"
    missing = re.match(r"Object missing required field `(.*)`", what)
    if missing:
        return f"{where} must have the key {missing[1]}."
    came = value_at(values, steps)
    if what.startswith("Invalid"):
        tags = list(kinds_at(kind, values, steps[:-1])) if steps[-1:] == ("kind",) else None
        allowed = tags or literals_at(kind, values, steps)
        near = did_you_mean(came, allowed)
        return f"{where} must be one of {', '.join(allowed)}, got {short(came)}.{near}"
    words = re.sub(r", got (`.*`|\d+)", "", what.removeprefix("Expected "))
    words = re.sub(r"`(.*?)`", lambda types: in_words(types[1]), words)
    return f"{where} must be {words}, got {short(came)}."


def in_words(names: str) -> str:
    """Types as `msgspec` writes them, in words."""
    return " or ".join(TYPE_WORDS.get(name, name) for name in names.split(" | "))


def value_at(values: Any, steps: Sequence[str]) -> Any:
    """What stands at a place of nested values."""
    for step in steps:
        if isinstance(values, Mapping):
            values = values.get(step)
        elif isinstance(values, Sequence) and step[1:-1].isdigit():
            values = values[int(step[1:-1])]
    return values


def type_at(kind: Any, values: Any, steps: Sequence[str]) -> Any:
    """The type of a place: of a choice, that of the kind which the values name."""
    for step in steps:
        kind = chosen(kind, values)
        if step.startswith("["):
            kind = next(iter(typing.get_args(kind)), Any)
        elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            kind = typing.get_type_hints(kind, include_extras=True).get(step, Any)
        values = value_at(values, (step,))
    return chosen(kind, values)


def allows_none(values: Any, steps: Sequence[str]) -> bool:
    """Whether a setting may be None."""
    return types.NoneType in typing.get_args(type_at(Settings, values, steps))


def chosen(kind: Any, values: Any) -> Any:
    """A type without its bounds; of several structs the one whose kind the values name."""
    while typing.get_origin(kind) is Annotated:
        kind = typing.get_args(kind)[0]
    tag = values.get("kind") if isinstance(values, Mapping) else None
    for part in members(kind):
        if part.__struct_config__.tag == tag:
            return part
    return kind


def members(kind: Any) -> Iterator[Any]:
    """The structs of a union."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        yield from (part for part in typing.get_args(kind) if hasattr(part, "__struct_config__"))


def kinds_at(kind: Any, values: Any, steps: Sequence[str]) -> Iterator[str]:
    """The kinds that a place may choose among."""
    for step in steps:
        kind = type_at(kind, values, (step,)) if step != steps[-1] else hint_of(kind, step)
        values = value_at(values, (step,))
    yield from (part.__struct_config__.tag for part in members(kind))


def hint_of(kind: Any, step: str) -> Any:
    """The type of a field as it is written."""
    return typing.get_type_hints(kind, include_extras=True).get(step, Any)


def literals_at(kind: Any, values: Any, steps: Sequence[str]) -> list[str]:
    """The texts that a place allows."""
    return [str(value) for value in typing.get_args(type_at(kind, values, steps))]


def fields_of(kind: Any, values: Any, steps: Sequence[str]) -> tuple[str, ...]:
    """The keys that a place allows, its kind first where it has one."""
    found = type_at(kind, values, steps)
    fields = getattr(found, "__struct_fields__", ())
    config = getattr(found, "__struct_config__", None)
    return ("kind", *fields) if config is not None and config.tag else fields
