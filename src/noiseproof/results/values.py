"""Typed values of a record from text and JSON, and back.

The types are those that the schema uses: `str`, `int`, `float`, `bool`, a `Literal`, one of these
or none, lists, pairs, dicts and NamedTuples of them. What is not finite is `nan` or `inf` in CSV;
JSON has no such numbers, so there it is `null`, which a field that must be a number reads as NaN.
"""

import math
import types
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

RANGES: Mapping[str, tuple[float, float]] = {
    "accuracy": (0, 1),
    "calibration_error": (0, 1),
    "count": (0, math.inf),
    "difference": (-1, 1),
    "diverged_share": (0, 1),
    "inner_steps": (0, math.inf),
    "learned_mean": (0, 1),
    "n": (1, math.inf),
    "num_steps": (1, math.inf),
    "of": (0, math.inf),
    "outer_step": (0, math.inf),
    "outer_steps": (0, math.inf),
    "p_holm": (0, 1),
    "p_sign": (0, 1),
    "rival_mean": (0, 1),
    "seconds": (0, math.inf),
    "severity": (1, 5),
    "significant": (0, math.inf),
    "step": (0, math.inf),
    "strength": (0, math.inf),
    "train_bytes": (0, math.inf),
    "train_seconds": (0, math.inf),
    "trials": (0, math.inf),
}
"""Least and greatest allowed value by field name; fields that are not here may be anything."""

MUST_BE_FINITE = frozenset({"accuracy", "learned_mean", "rival_mean", "difference"})
"""Fields in which even a diverged run leaves a number."""


def to_cell(value: Any, kind: Any) -> str:
    """The text of a CSV cell: empty for none, and numbers so that reading gives them back."""
    kind, _ = _without_none(kind)
    if value is None:
        return ""
    if kind is bool:
        return "true" if value else "false"
    if kind is float:
        return repr(float(value))
    return str(int(value)) if kind is int else str(value)


def from_cell(text: str, kind: Any) -> Any:
    """The value of a CSV cell.

    Raises:
        ValueError: The text is no value of this type.
    """
    kind, optional = _without_none(kind)
    if text == "" and optional:
        return None
    if kind is bool:
        if text not in ("true", "false"):
            raise ValueError(f"must be true or false, got {text!r}.")
        return text == "true"
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"must be {_words(kind)}, got {text!r}.") from None
    return from_json(text, kind)


def to_json(value: Any) -> Any:
    """The value as JSON's own types; a NamedTuple becomes an object."""
    if hasattr(value, "_asdict"):
        return {name: to_json(part) for name, part in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(name): to_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(part) for part in value]
    if hasattr(value, "tolist"):
        return to_json(value.tolist())  # arrays and scalars of NumPy and JAX
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def from_json(value: Any, kind: Any) -> Any:
    """The value of type `kind` that a JSON value stands for.

    Raises:
        ValueError: It stands for none; the message begins with the field's place where the fault
            is inside a nested value.
    """
    kind, optional = _without_none(kind)
    if kind is Any or (value is None and optional):
        return value
    if hasattr(kind, "_fields"):
        return _named_tuple(value, kind)
    read = _BY_ORIGIN.get(get_origin(kind) or kind)
    if read is None:
        raise TypeError(f"no JSON form for the type {kind}.")
    return read(value, kind)


def check_range(name: str, value: Any) -> None:
    """Check a value against what its field's name allows.

    Raises:
        ValueError: The value is out of range, or not finite where it must be.
    """
    low, high = RANGES.get(name, (-math.inf, math.inf))
    if not isinstance(value, int | float):
        return
    if math.isnan(value) and name not in MUST_BE_FINITE:
        return
    if not low <= value <= high:
        allowed = f"at least {low:g}" if math.isinf(high) else f"from {low:g} to {high:g}"
        raise ValueError(f"must be {allowed}, got {value!r}.")


def _named_tuple(value: Any, kind: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"must be an object, got {value!r}.")
    # What has a default came with a later version; older records do not hold it.
    needed = [name for name in kind._fields if name not in kind._field_defaults]
    missing = [name for name in needed if name not in value]
    unknown = [name for name in value if name not in kind._fields]
    if missing or unknown:
        which, names = ("misses", missing) if missing else ("has unknown", unknown)
        raise ValueError(f"must hold {', '.join(kind._fields)}; it {which} {', '.join(names)}.")
    hints = get_type_hints(kind)
    return kind(**{name: _field(part, hints[name], name) for name, part in value.items()})


def _field(value: Any, kind: Any, name: str) -> Any:
    try:
        found = from_json(value, kind)
        check_range(name, found)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return found


def _list(value: Any, kind: Any) -> Any:
    if not isinstance(value, list):
        raise ValueError(f"must be a list, got {value!r}.")
    (part,) = get_args(kind)
    return [_field(item, part, str(place)) for place, item in enumerate(value)]


def _pair(value: Any, kind: Any) -> Any:
    parts = get_args(kind)
    if not isinstance(value, list) or len(value) != len(parts):
        raise ValueError(f"must be a list of {len(parts)}, got {value!r}.")
    return tuple(from_json(item, part) for item, part in zip(value, parts, strict=True))


def _dict(value: Any, kind: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"must be an object, got {value!r}.")
    part = get_args(kind)[1]
    return {name: _field(item, part, repr(name)) for name, item in value.items()}


def _literal(value: Any, kind: Any) -> Any:
    if value not in get_args(kind):
        raise ValueError(f"must be one of {', '.join(get_args(kind))}, got {value!r}.")
    return value


def _plain(value: Any, kind: Any) -> Any:
    # In Python a bool is an int, in a record it is not.
    if type(value) is not kind:
        raise ValueError(f"must be {_words(kind)}, got {value!r}.")
    return value


def _number(value: Any, kind: Any) -> Any:
    return (
        math.nan if value is None else _plain(float(value) if type(value) is int else value, kind)
    )


def _without_none(kind: Any) -> tuple[Any, bool]:
    """A type without its `| None`, and whether it had one."""
    if get_origin(kind) is not types.UnionType:
        return kind, False
    return next(part for part in get_args(kind) if part is not types.NoneType), True


def _words(kind: Any) -> str:
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}[kind]


_BY_ORIGIN: Mapping[Any, Any] = {
    str: _plain,
    int: _plain,
    bool: _plain,
    float: _number,
    Literal: _literal,
    list: _list,
    tuple: _pair,
    dict: _dict,
}
