"""Packages that are not part of the smallest installation."""

import importlib
from typing import Any

INSTALL = "pip install 'noiseproof[all]'"
"""The command that installs all of them."""


def library(name: str, purpose: str) -> Any:
    """An optional package, imported where it is used.

    Args:
        name: Of the module.
        purpose: What needs it, for the message.

    Raises:
        ValueError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(missing(error, purpose)) from None


def missing(error: ModuleNotFoundError, purpose: str) -> str:
    """The one line that says what is missing and how to install it."""
    package = (error.name or str(error)).partition(".")[0]
    return f"{purpose} needs {package}, which is not installed: {INSTALL}."
