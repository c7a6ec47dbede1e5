"""What every reader promises, over all of `DATASETS`."""

from pathlib import Path

import numpy as np
import pytest

from noiseproof.data import DATASETS, Dataset, load_dataset

NAMES = sorted(DATASETS)


@pytest.fixture(params=NAMES)
def dataset(request: pytest.FixtureRequest, small_data_dir: Path) -> Dataset:
    return load_dataset(request.param, data_dir=small_data_dir)


def splits(dataset: Dataset) -> tuple:
    return dataset.train, dataset.outer, dataset.select, dataset.test


def test_images_are_contiguous_bytes_of_one_shape(dataset: Dataset):
    for part in splits(dataset):
        assert part.images.dtype == np.uint8
        assert part.images.flags["C_CONTIGUOUS"]
        assert part.images.ndim == 4
        assert part.images.shape[1:] == dataset.train.images.shape[1:]
        assert part.images.shape[3] in (1, 3)


def test_images_use_the_whole_range(dataset: Dataset):
    assert dataset.train.images.min() == 0
    assert dataset.train.images.max() == 255


def test_labels_are_small_integers_one_per_image(dataset: Dataset):
    for part in splits(dataset):
        assert part.labels.dtype == np.int32
        assert part.labels.shape == part.images.shape[:1]


def test_every_class_is_in_every_split(dataset: Dataset):
    for part in splits(dataset):
        assert np.unique(part.labels).tolist() == list(range(dataset.num_classes))


def test_split_sizes_follow_the_rule(dataset: Dataset):
    num_images = sum(len(part.labels) for part in splits(dataset)[:3])
    assert len(dataset.outer.labels) == min(5_000, num_images // 5)
    assert len(dataset.select.labels) == min(5_000, num_images // 7)


def test_no_image_is_in_two_splits(dataset: Dataset):
    images = [image.tobytes() for part in splits(dataset) for image in part.images]
    assert len(set(images)) == len(images)


@pytest.mark.parametrize("name", NAMES)
def test_reading_twice_gives_the_same(name: str, small_data_dir: Path):
    first, second = (load_dataset(name, data_dir=small_data_dir) for _ in range(2))
    for one, other in zip(splits(first), splits(second), strict=True):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.labels, other.labels)


@pytest.mark.parametrize("name", NAMES)
def test_half_size(name: str, small_data_dir: Path):
    size = load_dataset(name, data_dir=small_data_dir).train.images.shape[1]
    half = load_dataset(name, data_dir=small_data_dir, image_size=size // 2)
    assert {part.images.shape[1:3] for part in splits(half)} == {(size // 2, size // 2)}


@pytest.mark.parametrize("name", NAMES)
def test_the_reader_carries_its_name(name: str, small_data_dir: Path):
    assert DATASETS[name](small_data_dir).name == name


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"digits"}))
def test_a_missing_folder_names_the_file_and_the_way_out(name: str, tmp_path: Path):
    nowhere = tmp_path / "nowhere"
    with pytest.raises(ValueError, match=rf"nowhere/.* is missing; `noiseproof fetch {name}`"):
        load_dataset(name, data_dir=nowhere)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"digits"}))
def test_no_folder_at_all(name: str):
    with pytest.raises(ValueError, match=rf"{name} is read from files: a data folder is required"):
        load_dataset(name)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(
        ValueError, match=r"one of digits, mnist, .* a file of \.npz, .*, got 'imagenet'"
    ):
        load_dataset("imagenet")
