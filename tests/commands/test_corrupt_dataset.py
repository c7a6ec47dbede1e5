"""Writing corrupted data sets: layout, determinism, resume, and nothing written when refused."""

import json

import numpy as np
import pytest

import noiseproof
from noiseproof.commands import preview
from noiseproof.corruptions.keys import as_key
from noiseproof.data import load_dataset
from noiseproof.data.corrupted import read_cifar10_c
from noiseproof.evaluate.suites import TEST_SEED, named_corruptions
from noiseproof.experiment import corrupted_dataset as corrupt
from noiseproof.tasks.outer_losses import clean_images

NAMES = ("contrast", "impulse_noise")


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(corrupt, "CHUNK", 3)


def write(small_data_dir, out, **options):
    options = {"corruptions": NAMES, "limit": 7, "seed": 3} | options
    return corrupt.corrupt_dataset("cifar-10", out, data_dir=small_data_dir, **options)


@pytest.mark.usefixtures("small_chunks")
def test_the_files_have_the_layout_of_cifar_10_c(small_data_dir, tmp_path):
    paths = write(small_data_dir, tmp_path / "c")
    assert [path.name for path in paths] == ["contrast.npy", "impulse_noise.npy", "labels.npy"]
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == [
        "contrast.npy", "corrupted.json", "impulse_noise.npy", "labels.npy",
    ]  # fmt: skip
    test = load_dataset("cifar-10", data_dir=small_data_dir).test
    for severity, factor in ((1, 0.75), (5, 0.15)):
        batch = read_cifar10_c(tmp_path / "c", "contrast", severity)
        assert batch.images.shape == (7, 32, 32, 3)
        np.testing.assert_array_equal(batch.labels, test.labels[:7])
        clean = test.images[:7] / 255
        mean = clean.mean((1, 2), keepdims=True)
        expected = np.floor(((clean - mean) * factor + mean) * 255 + 2e-4)
        # The mean of 32-bit floats may put a value on the other side of a level.
        assert np.abs(batch.images - expected).max() <= 1
        assert (batch.images != expected).mean() < 1e-3


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("kept", [0, 100, 128, 129, 128 + 3072, 128 + 3072 * 10, 128 + 3072 * 34])
def test_a_resumed_job_writes_the_same_bytes(small_data_dir, tmp_path, kept):
    write(small_data_dir, tmp_path / "whole")
    whole = (tmp_path / "whole" / "impulse_noise.npy").read_bytes()
    write(small_data_dir, tmp_path / "cut", corruptions=("contrast",))
    (tmp_path / "cut" / "labels.npy").unlink()
    (tmp_path / "cut" / "impulse_noise.part").write_bytes(whole[:kept])
    calls = []
    write(small_data_dir, tmp_path / "cut", resume=True, report=lambda *call: calls.append(call))
    assert (tmp_path / "cut" / "impulse_noise.npy").read_bytes() == whole
    assert not (tmp_path / "cut" / "impulse_noise.part").exists()
    assert calls[0] == ("contrast", 35, 35)
    assert calls[-1] == ("impulse_noise", 35, 35)


@pytest.mark.usefixtures("small_chunks")
def test_images_differ_by_seed_severity_and_number(small_data_dir, tmp_path):
    for seed in (0, 1):
        write(small_data_dir, tmp_path / str(seed), corruptions=("impulse_noise",), seed=seed)
    first, second = (read_cifar10_c(tmp_path / str(s), "impulse_noise", 5).images for s in (0, 1))
    assert (first != second).any(axis=(1, 2, 3)).all()
    other = read_cifar10_c(tmp_path / "0", "impulse_noise", 4).images
    assert (first != other).any(axis=(1, 2, 3)).all()
    test = load_dataset("cifar-10", data_dir=small_data_dir).test.images[:7]
    changed = first != test
    assert (changed[0] != changed[1]).any()


def test_files_calls_and_evaluations_have_the_same_images(small_data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(corrupt, "CHUNK", 8)
    names = ("impulse_noise", "glass_blur", "jpeg_compression")
    write(small_data_dir, tmp_path / "c", corruptions=names, limit=None, seed=TEST_SEED)
    split = load_dataset("cifar-10", data_dir=small_data_dir).test
    _, *sets = named_corruptions(
        split, outer_loss=clean_images(), roles=dict.fromkeys(names, "held_out")
    )
    for made in sets:
        written = read_cifar10_c(tmp_path / "c", made.corruption, made.severity).images
        np.testing.assert_array_equal(made.batch.images, written)
        called = noiseproof.corrupt(split.images, made.corruption, made.severity, TEST_SEED)
        np.testing.assert_array_equal(called, written)
        alone = preview.severities(split.images, made.corruption, 11, as_key(TEST_SEED))
        np.testing.assert_array_equal(alone[made.severity], written[11])


def test_by_default_grey_images_get_the_18_without_saturate(small_data_dir):
    assert len(corrupt._checked_names(None, 1)) == 18
    assert len(corrupt._checked_names(None, 3)) == 19


def test_a_cut_file_is_made_anew_and_other_images_are_refused(small_data_dir, tmp_path):
    """Catches a resumed job that keeps half a file, or mixes the images of two data sets."""
    (path, *_) = write(small_data_dir, tmp_path, corruptions=("contrast",))
    whole = path.read_bytes()
    path.write_bytes(whole[:500])
    write(small_data_dir, tmp_path, corruptions=("contrast",), resume=True)
    assert path.read_bytes() == whole
    file = tmp_path / "corrupted.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"images_sha256": "0"}))
    with pytest.raises(ValueError, match="read other images: resume it with the same"):
        write(small_data_dir, tmp_path, corruptions=("contrast",), resume=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"corruptions": ("mist",)}, "corruption 'mist' is unknown"),
        ({"corruptions": ("fog", "fog")}, "must be named once each, got 'fog, fog'"),
        ({"limit": 0}, "limit must lie between 1 and 20 images, got 0"),
        ({"limit": 21}, "limit must lie between 1 and 20 images, got 21"),
        ({"seed": 2**32}, r"a seed from 0 to 2\*\*32 - 1, got 4294967296"),
    ],
    ids=["name", "twice", "none", "too many", "seed"],
)
def test_what_is_refused_writes_nothing(small_data_dir, tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        write(small_data_dir, tmp_path / "c", **options)
    assert not (tmp_path / "c").exists()


def test_saturate_on_grey_images_is_refused(small_data_dir, tmp_path):
    with pytest.raises(ValueError, match="'saturate' needs color images, and these are grey"):
        corrupt.corrupt_dataset(
            "mnist", tmp_path / "c", data_dir=small_data_dir, corruptions=("saturate",)
        )


def test_folders_in_use_or_of_other_settings_are_refused(small_data_dir, tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(ValueError, match="is in use: choose another with --out, or go on with"):
        write(small_data_dir, tmp_path)
    with pytest.raises(ValueError, match="holds no run to resume"):
        write(small_data_dir, tmp_path, resume=True)
    (tmp_path / "corrupted.json").write_text(json.dumps({"dataset": "mnist"}))
    with pytest.raises(
        ValueError, match="has dataset 'mnist', not 'cifar-10': resume it with the same"
    ):
        write(small_data_dir, tmp_path, resume=True)
    for damaged in ("{", "3"):
        (tmp_path / "corrupted.json").write_text(damaged)
        with pytest.raises(ValueError, match=r"corrupted.json is damaged: it is no JSON object"):
            write(small_data_dir, tmp_path, resume=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corrupted.json", "mine"]


def test_labels_of_many_classes_are_kept(tmp_path):
    labels = np.arange(300)
    np.savez(
        tmp_path / "own.npz",
        x_train=np.zeros((2100, 8, 8), np.uint8),
        y_train=np.tile(labels, 7),
        x_test=np.zeros((300, 8, 8), np.uint8),
        y_test=labels,
    )
    corrupt.corrupt_dataset(tmp_path / "own.npz", tmp_path / "c", corruptions=("contrast",))
    batch = read_cifar10_c(tmp_path / "c", "contrast", 3, num_classes=300)
    np.testing.assert_array_equal(batch.labels, labels)
