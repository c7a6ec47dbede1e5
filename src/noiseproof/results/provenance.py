"""Where a record comes from: code, seeds, packages and device, without a path of the machine."""

import importlib.metadata
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from noiseproof.results.schema import Provenance

PACKAGES = (
    "jax",
    "jaxlib",
    "numpy",
    "optax",
    "orbax-checkpoint",
    "safetensors",
    "scikit-learn",
    "scipy",
)
"""The packages whose versions may change a number."""


def collect_provenance(
    *,
    device: str,
    seeds: Mapping[str, Sequence[int]],
    arguments: Sequence[str],
    config: Mapping[str, Any],
) -> Provenance:
    """Collect what a record says of its origin.

    Args:
        device: What the run ran on, in words.
        seeds: Seeds by what they are for, such as `meta` and `inner`.
        arguments: The command line, as in `sys.argv`.
        config: All settings of the run; paths in its texts are shortened.
    """
    return Provenance(
        code_version=_code_version(),
        commit=_commit(Path(__file__).parent),
        seeds={name: [int(seed) for seed in values] for name, values in seeds.items()},
        packages={name: version for name in PACKAGES if (version := _version(name))},
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        device=device,
        command=portable_command(arguments),
        config=without_paths(dict(config)),
    )


def portable_command(arguments: Sequence[str]) -> str:
    """The command line as one would type it elsewhere: no path of this machine in it.

    Absolute paths and those from the home folder become relative to the working folder where they
    lie in it, and else their last part alone; a module's file becomes `python -m`.
    """
    program, *rest = arguments
    if PurePosixPath(program).name == "__main__.py":
        words = ["python", "-m", PurePosixPath(program).parent.name]
    else:
        words = [PurePosixPath(program).name]
    return shlex.join(words + [_shorten(argument) for argument in rest])


def without_paths(value: Any) -> Any:
    """A copy of nested dicts, lists and texts in which paths are shortened."""
    if isinstance(value, Mapping):
        return {name: without_paths(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(part) for part in value]
    return _shorten(str(value)) if isinstance(value, str | Path) else value


def _shorten(text: str) -> str:
    # A path may stand alone, after the sign of `--out=/a` or `data.dir=/a`, or in a list; and in a
    # sentence, yet spaces may be its own, so that words are looked at last.
    parts = [_shorten_part(part) for part in re.split(r"([=,;\[\]\"']\s*)", text)]
    return "".join(_shorten_part(word) for part in parts for word in re.split(r"(\s+)", part))


def _shorten_part(part: str) -> str:
    bare = part.strip().removeprefix("file://")
    if PureWindowsPath(bare).drive:
        return PureWindowsPath(bare).name
    path = Path(bare)
    if not (path.is_absolute() or re.match(r"~\w*/", bare) or ".." in path.parts):
        return part
    here = Path.cwd().resolve()
    resolved = (path.expanduser() if bare.startswith("~/") else path).resolve()
    # Everything lies in the root folder, so that a path relative to it hides nothing.
    if here != Path(here.anchor) and resolved.is_relative_to(here):
        return resolved.relative_to(here).as_posix()
    return resolved.name


def _code_version() -> str:
    # The package is loaded when this runs. It is not imported, for it may name what stands above;
    # nor asked of the installer, for it may run from its sources.
    return sys.modules[__name__.partition(".")[0]].__version__


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit(folder: Path) -> str:
    """The commit of a folder's files; `unknown` where git does not keep them."""
    # An installed package may lie inside another project's checkout: its files must be tracked.
    if not _git(folder, "ls-files", "--", Path(__file__).name):
        return "unknown"
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", "..")
    return f"{commit}-dirty" if changed else commit or "unknown"


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
