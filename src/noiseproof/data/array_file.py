"""A user's own images in one file of named arrays: `.npz`, HDF5, or MATLAB's `.mat`.

Arrays are found by name: `x_train` and `y_train`, `train_images` and `train_labels`, `X_test`, a
group `train` with `data` and `targets`, or `X` and `y` where there is no test set. Names that say
neither images nor labels are passed over.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from noiseproof.data.dataset import Source, cut_test
from noiseproof.data.labels import listed, numbered
from noiseproof.data.pixels import byte_images
from noiseproof.data.trust import shown
from noiseproof.types import Batch

ReadArrays = Callable[
    [Path, Callable[[Iterable[str]], Iterable[str]]], dict[str, Shaped[np.ndarray, "..."]]
]
"""`(path, choose) -> name -> array`: reads of a file's arrays those whose names are chosen."""

PARTS = {"train": "train(?:ing)?", "val": "val(?:id(?:ation)?)?", "test": "test(?:ing)?"}
KINDS = {
    "images": "x|images?|imgs?|data|inputs?|pixels",
    "labels": "y|labels?|targets?|class(?:es)?",
}


class Part(NamedTuple):
    """Training, validation or test images with their labels, as a file has them.

    Attributes:
        images: Of any shape and type.
        labels: Likewise.
        images_name: For messages.
        labels_name: For messages.
    """

    images: Shaped[np.ndarray, "..."]
    labels: Shaped[np.ndarray, "..."]
    images_name: str
    labels_name: str


def read_array_file(path: Path, read_arrays: ReadArrays) -> Source:
    """Reads a data set that is named after its file.

    Without test images in the file, those of a file beside it are taken, if its name differs in
    `test` for `train` alone (as SVHN's do); else a part of the training images is set aside.

    Raises:
        ValueError: The file is missing or damaged, or its arrays are no images and labels.
    """
    parts, notices = _read_parts(path, read_arrays), []
    beside = path.with_name(path.name.replace("train", "test"))
    if "test" not in parts and beside != path and beside.exists():
        others = _read_parts(beside, read_arrays)
        parts["test"] = others.get("test", others["train"])
        notices.append(f"{path}: test images are taken from {beside.name}.")
    return assembled(path.stem, str(path), parts, notices)


def assembled(name: str, where: str, parts: Mapping[str, Part], notices: Iterable[str]) -> Source:
    """A data set of parts in any form; validation images join the training ones.

    Args:
        name: Of the data set.
        where: Its place, for messages.
        parts: `train`, and `val` and `test` if there are such.
        notices: What was assumed already.

    Raises:
        ValueError: The parts are no images and labels, or do not go together.
    """
    for part in parts.values():
        _require_labels(part)
    labels = numbered({part.labels_name: part.labels for part in parts.values()})
    images = byte_images(
        {part.images_name: part.images for part in parts.values()},
        {part.images_name: len(labels.labels[part.labels_name]) for part in parts.values()},
    )
    batches = {
        key: Batch(images.images[part.images_name], labels.labels[part.labels_name])
        for key, part in parts.items()
    }
    for part, batch in zip(parts.values(), batches.values(), strict=True):
        if len(batch.images) != len(batch.labels):
            raise ValueError(
                f"{part.labels_name} must hold one label for each of {len(batch.images)} images, "
                f"got {len(batch.labels)}."
            )
    notices = [*notices, *images.notices, *labels.notices]
    train = batches["train"]
    if "val" in batches:
        train = Batch(*map(np.concatenate, zip(train, batches["val"], strict=True)))
        notices.append(f"{where}: validation images join the training images.")
    if "test" in batches:
        test = batches["test"]
    else:
        train, test = cut_test(train)
        notices.append(
            f"{where} has no test images: {len(test.labels)} of the others are set aside as such, "
            "the same ones always."
        )
    return Source(name, train, test, labels.num_classes, tuple(notices))


def _require_labels(part: Part) -> None:
    if part.labels.size == 0:
        raise ValueError(f"{part.labels_name} must hold labels, got shape {part.labels.shape}.")


def _read_parts(path: Path, read_arrays: ReadArrays) -> dict[str, Part]:
    names: dict[str, dict[str, str]] = {}

    def choose(found: Iterable[str]) -> Iterable[str]:
        names.update(_by_part(list(found), path))
        return [name for part in names.values() for name in part.values()]

    arrays = read_arrays(path, choose)
    return {
        part: Part(
            arrays[of["images"]],
            arrays[of["labels"]],
            f"{shown(of['images'])} in {path}",
            f"{shown(of['labels'])} in {path}",
        )
        for part, of in names.items()
    }


def _by_part(found: list[str], path: Path) -> dict[str, dict[str, str]]:
    """Part -> kind -> name, of the names that say which they are; train first."""
    said: dict[str, dict[str, list[str]]] = {}
    for name in found:
        for part, kind in _meanings(name):
            said.setdefault(part, {}).setdefault(kind, []).append(name)
    if "train" not in said and "" in said:
        said["train"] = said[""]
    said = {part: said[part] for part in PARTS if part in said}
    if "train" not in said:
        raise ValueError(
            f"{path} must hold x_train, y_train, x_test, y_test, or other names of images and "
            f"labels, got {listed(found)}."
        )
    missing = [f"{kind} of {part}" for part in said for kind in KINDS if kind not in said[part]]
    if missing:
        raise ValueError(
            f"{path} must hold images and labels of each part, but lacks {', '.join(missing)}."
        )
    for part, kinds in said.items():
        for kind, names in kinds.items():
            if len(names) > 1:
                raise ValueError(
                    f"{path} must hold one array of {kind} of {part}, got {listed(names)}."
                )
    return {part: {kind: names[0] for kind, names in said[part].items()} for part in said}


def _meanings(name: str) -> list[tuple[str, str]]:
    """The part and the kind that a name says, none or one; the part is empty where it says none."""
    squashed = re.sub(r"[^a-z]", "", name.lower())
    return [
        (part, kind)
        for part, of_part in {"": "", **PARTS}.items()
        for kind, of_kind in KINDS.items()
        if re.fullmatch(f"(?:{of_part})(?:{of_kind})|(?:{of_kind})(?:{of_part})", squashed)
    ][:1]
