"""The readers on the real files, where there are some."""

import os
from pathlib import Path

import numpy as np
import pytest

from noiseproof.data import PUBLISHED, load_dataset
from noiseproof.data.published import sha256_of

DATA_DIR = os.environ.get("NOISEPROOF_DATA")


def needs(name: str) -> Path:
    """The data folder, or a visible skip where it does not hold the data set."""
    missing = [file.path for file in PUBLISHED[name] if not (Path(DATA_DIR) / file.path).exists()]
    if missing:
        pytest.skip(f"NOISEPROOF_DATA holds no {missing[0]}")
    return Path(DATA_DIR)


pytestmark = pytest.mark.skipif(not DATA_DIR, reason="NOISEPROOF_DATA names no folder of real data")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_mnist_family(name: str):
    data_dir = needs(name)
    for file in PUBLISHED[name]:
        assert sha256_of(data_dir / file.path, of_content=True) == file.sha256
    dataset = load_dataset(name, data_dir=data_dir)
    assert dataset.notices == ()
    sizes = [len(part.labels) for part in dataset[2:6]]
    assert sizes == [50_000, 5_000, 5_000, 10_000]
    assert dataset.train.images.shape[1:] == (28, 28, 1)


def test_cifar10():
    dataset = load_dataset("cifar-10", data_dir=needs("cifar-10"))
    sizes = [len(part.labels) for part in dataset[2:6]]
    assert sizes == [40_000, 5_000, 5_000, 10_000]
    assert np.bincount(dataset.test.labels).tolist() == [1_000] * 10
    assert np.bincount(dataset.outer.labels).tolist() == [500] * 10
    # The mean color of the training images as commonly published, .4914 .4822 .4465; the
    # standard error over 40,000 images whose means spread by .15 at most is below .001.
    mean = dataset.train.images.mean(axis=(0, 1, 2)) / 255
    np.testing.assert_allclose(mean, [0.4914, 0.4822, 0.4465], atol=0.004)
