"""What goes wrong, as one line on the error stream and an exit code."""

from collections.abc import Callable
from typing import Any

import typer

from noiseproof.extras import missing

OUT_OF_MEMORY = "The memory does not suffice: it takes fewer pairs or seeds, or smaller runs."


def code_of(action: Callable[[], int | None]) -> int:
    """Runs a command; 0, 2 where the user was wrong, 1 where the machine was, 130 after Ctrl-C."""
    try:
        return action() or 0
    except ValueError as error:
        return _complain(error, 2)
    except OSError as error:
        return _complain(error, 1)
    except ModuleNotFoundError as error:
        return _complain(missing(error, "This command"), 1)
    except KeyboardInterrupt:
        return 130
    except MemoryError:
        return _complain(OUT_OF_MEMORY, 1)
    except Exception as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            return _complain(OUT_OF_MEMORY, 1)
        # What typer raises for a wrong option or argument; its class differs between versions.
        message = getattr(error, "format_message", None)
        if message is not None:
            return _complain(message(), 2)
        if type(error).__name__ == "Abort":
            return 130
        raise


def _complain(error: object, code: int) -> int:
    line = " ".join(str(error).split())
    typer.echo(f"noiseproof: {line}", err=True)
    return code


def print_warning(message: Warning | str, category: type[Warning], *_: Any) -> None:
    """Prints a warning to the user as one line; those to programmers are left out."""
    if issubclass(category, UserWarning):
        typer.echo(f"noiseproof: notice: {message}", err=True)
