"""Every setting in words: its type, range, default and meaning, from the typed settings alone.

Meanings are read from the docstrings of the sections and of the builders that a kind stands for.
"""

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect as types

from noiseproof.experiment.settings import Settings
from noiseproof.messages import did_you_mean, short


class Described(NamedTuple):
    """A setting in words.

    Attributes:
        section: Its section; empty for the settings that are in none.
        kinds: The kinds of the section that have this key; none where the section has no kinds.
        key: Its name within the section.
        values: The type, and the range of numbers.
        default: The default as TOML has it; empty where it must be given, `none` for no value.
        meaning: What it does, in a sentence.
    """

    section: str
    kinds: tuple[str, ...]
    key: str
    values: str
    default: str
    meaning: str

    @property
    def place(self) -> str:
        """How `--set` names it."""
        return f"{self.section}.{self.key}" if self.section else self.key


def described(section: str = "") -> list[Described]:
    """All settings, or those of one section.

    Raises:
        ValueError: There is no such section.
    """
    known = sections()
    if section and section not in known:
        raise ValueError(
            f"The section must be one of {', '.join(known)}, got {short(section)}."
            + did_you_mean(section, known)
        )
    return [one for one in _merged(_all()) if not section or section in (one.section, one.place)]


def sections() -> dict[str, str]:
    """The sections and the settings outside of them, with their meanings."""
    return meanings(Settings)


def meanings(documented: Any) -> dict[str, str]:
    """What a docstring says of each attribute or argument, on one line."""
    text = inspect.getdoc(documented) or ""
    body = re.search(r"^(?:Attributes|Args):\n((?:    .*\n?|\n)*)", text, re.M)
    entries = re.findall(r"^    (\w+): (.*(?:\n {8,}.*)*)", body[1] if body else "", re.M)
    return {name: " ".join(meaning.split()) for name, meaning in entries}


def _merged(every: Iterator[Described]) -> list[Described]:
    """The same, with kinds joined whose key is alike in all else."""
    found: dict[Described, tuple[str, ...]] = {}
    for one in every:
        alike = one._replace(kinds=())
        found[alike] = (*found.get(alike, ()), *one.kinds)
    return [one._replace(kinds=kinds) for one, kinds in found.items()]


def _all() -> Iterator[Described]:
    about = sections()
    settings: Any = types.type_info(Settings)
    for field in settings.fields:
        kinds = _structs(field.type)
        if not kinds:
            yield _one("", (), field, about[field.name])
        elif kinds[0].tag is None:
            yield from _of_struct(field.name, (), kinds[0])
        else:
            default = field.default.__struct_config__.tag
            names = ", ".join(str(kind.tag) for kind in kinds)
            values, meaning = f"one of {names}", about[field.name]
            yield Described(field.name, (), "kind", values, _as_toml(default), meaning)
            for kind in kinds:
                yield from _of_struct(field.name, (str(kind.tag),), kind)


def _structs(kind: types.Type) -> list[types.StructType]:
    parts = kind.types if isinstance(kind, types.UnionType) else (kind,)
    return [part for part in parts if isinstance(part, types.StructType)]


def _of_struct(
    section: str, kinds: tuple[str, ...], struct: types.StructType
) -> Iterator[Described]:
    known = meanings(struct.cls)
    for field in struct.fields:
        yield _one(section, kinds, field, known[field.name])


def _one(section: str, kinds: tuple[str, ...], field: types.Field, meaning: str) -> Described:
    default = "" if field.required else _as_toml(_default(field))
    return Described(section, kinds, field.name, in_words(field.type), default, meaning)


def _default(field: types.Field) -> Any:
    return field.default if field.default is not msgspec.NODEFAULT else field.default_factory()


def _as_toml(value: Any) -> str:
    return "none" if value is None else json.dumps(value)


def in_words(kind: types.Type) -> str:
    """A type and its range in words."""
    match kind:
        case types.IntType() | types.FloatType():
            noun = "whole number" if isinstance(kind, types.IntType) else "number"
            return f"{noun} {_range(kind)}".strip()
        case types.StrType():
            return "text"
        case types.BoolType():
            return "true or false"
        case types.NoneType():
            return "none"
        case types.LiteralType():
            return f"one of {', '.join(map(str, kind.values))}"
        case types.VarTupleType():
            return f"list, each a {in_words(kind.item_type)}"
        case types.TupleType():
            return f"list of {len(kind.item_types)}, each a {in_words(kind.item_types[0])}"
        case types.UnionType():
            return " or ".join(map(in_words, kind.types))
        case types.StructType():
            return f"table of {', '.join(field.name for field in kind.fields)}"
    return "table"


def _range(kind: types.IntType | types.FloatType) -> str:
    ends = (("from", kind.ge), ("above", kind.gt), ("to", kind.le))
    return " ".join(f"{word} {end:,.15g}" for word, end in ends if end is not None)
