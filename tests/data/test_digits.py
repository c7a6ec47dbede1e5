"""The digits are scikit-learn's, on the full range of a byte."""

import numpy as np
from sklearn.datasets import load_digits

from noiseproof.data import load_dataset
from noiseproof.data.digits import read_digits


def test_all_images_are_there_once():
    source = read_digits()
    both = np.concatenate([source.train.images, source.test.images])
    expected = np.rint(load_digits().images * 255 / 16)
    assert (
        np.sort(both.reshape(-1, 64), axis=0) == np.sort(expected.reshape(-1, 64), axis=0)
    ).all()
    assert both.min() == 0
    assert both.max() == 255


def test_labels_belong_to_their_images():
    source = read_digits()
    by_image = {
        np.rint(image * 255 / 16).astype(np.uint8).tobytes(): label
        for image, label in zip(*load_digits(return_X_y=True), strict=True)
    }
    for batch in (source.train, source.test):
        found = [by_image[image.tobytes()] for image in batch.images]
        assert batch.labels.tolist() == found


def test_split_sizes():
    dataset = load_dataset("digits")
    sizes = [len(part.labels) for part in dataset[2:6]]
    assert sizes == [920, 280, 200, 397]


def test_image_size_reaches_all_splits():
    dataset = load_dataset("digits", image_size=4)
    assert {part.images.shape[1:] for part in dataset[2:6]} == {(4, 4, 1)}
