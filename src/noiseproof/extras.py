"""Packages that are not part of the smallest installation."""

import importlib
from typing import Any

ALL = "all"
"""The extra that installs what the command line needs."""


def library(name: str, purpose: str, extra: str = ALL) -> Any:
    """An optional package, imported where it is used.

    Args:
        name: Of the module.
        purpose: What needs it, for the message.
        extra: The extra of this package that installs it.

    Raises:
        ValueError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(missing(error, purpose, extra)) from None


def missing(error: ModuleNotFoundError, purpose: str, extra: str = ALL) -> str:
    """The one line that says what is missing and how to install it."""
    package = (error.name or str(error)).partition(".")[0]
    install = f"pip install 'noiseproof[{extra}]'"
    return f"{purpose} needs {package}, which is not installed: {install}."
