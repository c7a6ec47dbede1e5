"""Published files of corrupted images as test sets, in the layouts of CIFAR-10-C and MNIST-C."""

import numpy as np
import pytest

from noiseproof.evaluate.conditions import Conditions
from noiseproof.evaluate.published import with_published
from noiseproof.evaluate.suites import clean_set, few
from noiseproof.experiment.build import build_experiment
from noiseproof.experiment.comparison import condition
from noiseproof.experiment.corrupted_dataset import corrupt_dataset
from noiseproof.experiment.reading import with_settings
from noiseproof.types import Batch

LABELS = np.array([3, 1, 4, 1, 5, 9], np.int32)
TEST = Batch(np.arange(6 * 16, dtype=np.uint8).reshape(6, 4, 4, 1), LABELS)
FILES = np.random.default_rng(0).integers(0, 256, (30, 4, 4, 1), dtype=np.uint8)
OWN = Conditions({}, lambda split: [clean_set(split)])


@pytest.fixture
def cifar_c(tmp_path):
    np.save(tmp_path / "fog.npy", FILES)
    np.save(tmp_path / "canny_edges.npy", FILES)
    np.save(tmp_path / "labels.npy", np.tile(LABELS, 5))
    return tmp_path


def published(folder, split=TEST, *, num_images=0, test=TEST):
    found = with_published(OWN, folder, test, num_images=num_images, num_classes=10)
    own, *rest = found.test_sets(split)
    assert own.corruption == "none"
    return rest


def test_severities_of_cifar_10_c_follow_our_own_sets(cifar_c):
    """Catches a severity taken for another, and rows that are counted twice."""
    sets = published(cifar_c)
    assert [one.severity for one in sets] == [1, 2, 3, 4, 5]
    assert {(one.corruption, one.family, one.role) for one in sets} == {
        ("fog (published)", "photometric", "published")
    }
    np.testing.assert_array_equal(np.concatenate([one.batch.images for one in sets]), FILES)


def test_the_same_images_are_drawn_as_of_the_test_set(cifar_c):
    """Catches labels of other images than those that are judged beside."""
    drawn = few(TEST, 4)
    for one in published(cifar_c, drawn, num_images=4):
        np.testing.assert_array_equal(one.batch.labels, drawn.labels)
    np.save(cifar_c / "fog.npy", np.tile(TEST.images, (5, 1, 1, 1)))
    for one in published(cifar_c, drawn, num_images=4):
        np.testing.assert_array_equal(one.batch.images, drawn.images)


def test_mnist_c_and_images_that_are_shrunk_like_the_data_set(tmp_path):
    (tmp_path / "zigzag").mkdir()
    np.save(tmp_path / "zigzag" / "test_images.npy", TEST.images.repeat(2, 1).repeat(2, 2))
    np.save(tmp_path / "zigzag" / "test_labels.npy", LABELS)
    (found,) = published(tmp_path)
    assert (found.corruption, found.severity) == ("zigzag (published)", None)
    np.testing.assert_array_equal(found.batch.images, TEST.images)


def test_a_folder_of_other_images_is_refused(cifar_c, tmp_path):
    other = Batch(TEST.images, LABELS[::-1])
    with pytest.raises(ValueError, match=r"must hold the 6 test images .* but the labels differ"):
        published(cifar_c, test=other)
    colored = Batch(np.zeros((6, 4, 4, 3), np.uint8), LABELS)
    with pytest.raises(ValueError, match=r"images of 4 x 4 x 3 .*, got 4 x 4 x 1"):
        published(cifar_c, test=colored)
    with pytest.raises(ValueError, match="laid out as CIFAR-10-C or MNIST-C"):
        published(tmp_path / "none")
    np.save(cifar_c / "labels.npy", np.full(30, 77))
    with pytest.raises(ValueError, match="labels from 0 to 9, got 77"):
        published(cifar_c)


def test_what_noiseproof_corrupt_wrote_is_what_we_draw(tmp_path):
    """Catches published rows of other images or under another seed than our own."""
    corrupt_dataset("digits", tmp_path, corruptions=["contrast"])
    words = ["data.name=digits", "conditions.corruptions=['contrast']", "evaluation.num_images=0"]
    experiment = build_experiment(with_settings({}, words, "settings"), corrupted=tmp_path)
    sets = experiment.conditions.test_sets(experiment.split)
    rows = [condition(one) for one in sets]
    assert len(set(rows)) == len(rows)
    by_name = {
        name: [one for one in sets if one.corruption == name]
        for name in ("contrast", "contrast (published)")
    }
    for ours, theirs in zip(*by_name.values(), strict=True):
        assert ours.severity == theirs.severity
        np.testing.assert_array_equal(ours.batch.images, theirs.batch.images)
    developing = with_settings({}, [*words, "evaluation.split=select"], "settings")
    with pytest.raises(ValueError, match=r"evaluation\.split must be test"):
        build_experiment(developing, corrupted=tmp_path)
