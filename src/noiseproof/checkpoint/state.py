"""The state of a meta-training run on disk.

A state is a folder `step_00000050` that Orbax writes beside its final name, with a `manifest.json`
that holds the SHA-256 of every file and of itself. It gets its name only when it is whole on the
disk, so a killed write leaves nothing that could be taken for a checkpoint, and damage is noticed
before a byte of it is used. Of several processes each writes the arrays that it holds, to a disk
that all see, and the first one does the rest; all must call.
"""

import errno
import logging
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from noiseproof.extras import library
from noiseproof.seal import UNFINISHED, flush, seal, sha256, unseal

MANIFEST = "manifest.json"
ARRAYS = "arrays"
STEP_FOLDER = re.compile(r"step_(\d{8,})")

REPLACED = ".replaced"
"""Ends the name of a checkpoint while another of the same step takes its place."""

State = Any
"""A pytree of arrays, typed random keys, and Python ints, floats and bools."""


def save_state(folder: str | Path, step: int, state: State, keep: int = 2) -> Path:
    """Save a state; the ones before it stay until it is whole on the disk.

    Args:
        folder: Folder of the checkpoints, made if need be.
        step: Number of the outer step, not negative. Checkpoints of later steps are deleted: they
            belong to a future that was given up.
        state: Pytree of arrays, typed random keys, Python ints, floats and bools.
        keep: How many of the newest checkpoints stay, at least 1.

    Returns:
        The folder of the new checkpoint.

    Raises:
        ValueError: `step` or `keep` is too small, or a leaf of `state` cannot be saved.
        OSError: The disk is full or cannot be written; older checkpoints are as they were.
    """
    if step < 0:
        raise ValueError(f"step must not be negative, got {step}.")
    if keep < 1:
        raise ValueError(f"keep must be at least 1, got {keep}.")
    leaves = _describe(state)
    folder, is_first = Path(folder), jax.process_index() == 0
    final = folder / f"step_{step:08d}"
    unfinished = final.with_suffix(UNFINISHED)
    if is_first:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder)
    multihost_utils.sync_global_devices(final.name)
    try:
        _write_arrays(unfinished, state)
        if is_first:
            _write_manifest(unfinished, step, leaves)
            _put_in_place(unfinished, final)
    except Exception as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if _is_disk_full(error):
            message = f"The disk is full: {final.name} was not saved, older checkpoints stay"
            raise OSError(errno.ENOSPC, message, str(folder)) from error
        raise
    if is_first:
        _remove_superseded(folder, step, keep)
    return final


def load_state(folder: str | Path, like: State) -> tuple[int, State] | None:
    """The newest whole checkpoint; damaged ones are passed over with a warning.

    Args:
        folder: Folder of the checkpoints.
        like: A state of the same structure, shapes and dtypes; its values are not used.

    Returns:
        The step and the state, bit for bit as it was saved, or None where there is none.

    Raises:
        ValueError: The checkpoint holds a state of another structure, shape or dtype.
    """
    steps = _step_folders(Path(folder))
    for step in sorted(steps, reverse=True):
        try:
            manifest = verify(steps[step])
        except ValueError as error:
            warnings.warn(f"{steps[step].name} is passed over: {error}", stacklevel=2)
            continue
        _check_same_leaves(steps[step], manifest["leaves"], _describe(like))
        return manifest["step"], _read_arrays(steps[step], like)
    return None


def verify(checkpoint: Path) -> dict[str, Any]:
    """The manifest of a checkpoint, once every file agrees with it.

    Raises:
        ValueError: A file is missing, cut off or changed, or the format version is another.
    """
    manifest = unseal(checkpoint / MANIFEST)
    for name, digest in manifest["files"].items():
        file = checkpoint / name
        if not file.is_file():
            raise ValueError(f"{file} is missing.")
        if sha256(file.read_bytes()) != digest:
            raise ValueError(f"{file} is damaged: it does not agree with its sha256.")
    return manifest


def _describe(state: State) -> dict[str, str]:
    """The dtype and shape of every leaf, by its place in the tree."""
    leaves, _ = jax.tree.flatten_with_path(state)
    return {jax.tree_util.keystr(path): _describe_leaf(path, leaf) for path, leaf in leaves}


def _describe_leaf(path: tuple[Any, ...], leaf: Any) -> str:
    if isinstance(leaf, bool | int | float) and np.array(leaf).dtype != object:
        return type(leaf).__name__
    if isinstance(leaf, jax.Array | np.ndarray | np.generic) and leaf.dtype != object:
        return f"{leaf.dtype}{list(leaf.shape)}"
    raise ValueError(
        "A state must hold arrays, and numbers of at most 64 bits,"
        f" got {type(leaf).__name__} at {jax.tree_util.keystr(path)}."
    )


def _check_same_leaves(checkpoint: Path, saved: dict[str, str], expected: dict[str, str]) -> None:
    for name in [*expected, *saved]:
        there, here = saved.get(name, "nothing"), expected.get(name, "nothing")
        if there != here:
            raise ValueError(
                f"The checkpoint {checkpoint} must fit the state to resume,"
                f" got {there} instead of {here} at {name}."
            )


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _stored(state: State) -> dict[str, Any]:
    """What Orbax is given: keys as their numbers, numbers as arrays, nothing of size zero."""
    arrays = [
        jax.random.key_data(leaf) if _is_key(leaf) else leaf if _is_array(leaf) else np.array(leaf)
        for leaf in jax.tree.leaves(state)
    ]
    return {_name(place): array for place, array in enumerate(arrays) if array.size}


def _name(place: int) -> str:
    return f"{place:05d}"


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray)


@contextmanager
def _orbax() -> Iterator[tuple[Any, Any]]:
    """Orbax and a writer of it, without its log, where the errors of its threads stand before they
    are raised. Imported here, since what writes no checkpoint can do without its 30 MB.
    """
    ocp = library("orbax.checkpoint", "A checkpoint")

    log = logging.getLogger("absl")
    was_disabled, log.disabled = log.disabled, True
    try:
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as writer:
            yield ocp, writer
    finally:
        log.disabled = was_disabled


def _write_arrays(checkpoint: Path, state: State) -> None:
    with _orbax() as (ocp, writer):
        writer.save((checkpoint / ARRAYS).absolute(), args=ocp.args.PyTreeSave(_stored(state)))


def _read_arrays(checkpoint: Path, like: State) -> State:
    with _orbax() as (ocp, writer):
        restore_args = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in _stored(like)}
        arrays = writer.restore(
            (checkpoint / ARRAYS).absolute(),
            args=ocp.args.PyTreeRestore(restore_args=restore_args),
        )
    leaves, structure = jax.tree.flatten(like)
    restored = [
        _restored(arrays[_name(place)], leaf) if _name(place) in arrays else leaf
        for place, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(structure, restored)


def _restored(array: np.ndarray, like: Any) -> Any:
    """A leaf of the kind of `like`, where `like` lies, with the values of `array`."""
    if not isinstance(like, jax.Array):
        return array if isinstance(like, np.ndarray) else type(like)(array[()])
    if _is_key(like):
        numbers = _restored(array, jax.random.key_data(like))
        return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(like))
    # An array that is on one device stays free to follow others to theirs.
    if len(like.sharding.device_set) == 1:
        return jnp.asarray(array)
    return jax.make_array_from_callback(array.shape, like.sharding, lambda index: array[index])


def _step_folders(folder: Path) -> dict[int, Path]:
    """The checkpoints of a folder by their step, whole or damaged."""
    found: dict[int, Path] = {}
    # In reverse order of names, so that a checkpoint wins over the one that it replaces.
    for path in sorted(folder.glob("step_*"), reverse=True):
        match = STEP_FOLDER.fullmatch(path.name.removesuffix(REPLACED))
        if match:
            found[int(match[1])] = path
    return found


def _write_manifest(checkpoint: Path, step: int, leaves: dict[str, str]) -> None:
    files = [path for path in sorted(checkpoint.rglob("*")) if path.is_file()]
    digests = {str(path.relative_to(checkpoint)): sha256(path.read_bytes()) for path in files}
    manifest = {"step": step, "leaves": leaves, "files": digests}
    (checkpoint / MANIFEST).write_bytes(seal(manifest))
    for path in [*checkpoint.rglob("*"), checkpoint]:
        flush(path)


def _put_in_place(unfinished: Path, final: Path) -> None:
    """Give a whole checkpoint its name; one that has it already comes back if that fails."""
    replaced = final.with_suffix(REPLACED)
    if final.exists():
        final.rename(replaced)
    try:
        unfinished.rename(final)
    except OSError:
        if replaced.exists():
            replaced.rename(final)
        raise
    flush(final.parent)


def _remove_leftovers(folder: Path) -> None:
    """What a killed process left, save a checkpoint that it was about to replace."""
    for path in folder.glob(f"step_*{REPLACED}"):
        if not path.with_suffix("").exists():
            path.rename(path.with_suffix(""))
    for suffix in (UNFINISHED, REPLACED):
        for path in folder.glob(f"step_*{suffix}"):
            shutil.rmtree(path)


def _remove_superseded(folder: Path, step: int, keep: int) -> None:
    _remove_leftovers(folder)
    folders = _step_folders(folder)
    kept = sorted(number for number in folders if number <= step)[-keep:]
    for number in set(folders) - set(kept):
        shutil.rmtree(folders[number])


def _is_disk_full(error: BaseException | None) -> bool:
    """Whether a full disk lies behind an error, which Orbax may have told in its own words."""
    if error is None:
        return False
    full = getattr(error, "errno", None) == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error)
    return full or _is_disk_full(error.__cause__ or error.__context__)
