"""Components by their names: what settings become."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any


def build_component(
    builders: Mapping[str, Callable[..., Any]],
    name: str,
    options: Mapping[str, Any],
    **arguments: Any,
) -> Any:
    """A component from its name in a dict of builders, options of the user's and other arguments.

    Raises:
        ValueError: An unknown name or option, or what the builder itself finds wrong.
    """
    if name not in builders:
        raise ValueError(f"{name} must be one of {', '.join(builders)}.")
    allowed = [key for key in inspect.signature(builders[name]).parameters if key not in arguments]
    for key in options:
        if key not in allowed:
            raise ValueError(f"{name} has no option {key}; allowed are {', '.join(allowed)}.")
    plain = {key: tuple(v) if isinstance(v, list) else v for key, v in options.items()}
    return builders[name](**arguments, **plain)
