"""What classifiers are tested on, and what each condition is to a learned optimizer."""

import jax
import numpy as np
import pytest

from noiseproof.corruptions import corrupt
from noiseproof.corruptions.families import FAMILIES, SPLITS, VALIDATION_4
from noiseproof.corruptions.kernels.noise import gaussian_noise
from noiseproof.evaluate.suites import (
    TEST_SEED,
    corrupted,
    few,
    named_corruptions,
    named_roles,
    noise_scales,
    scale_role,
)
from noiseproof.results import Role
from noiseproof.tasks.outer_losses import (
    clean_images,
    families,
    gaussian,
    spectral_noise,
)
from noiseproof.tasks.outer_losses import (
    named_corruptions as names_alone,
)
from noiseproof.types import Batch

GAUSSIAN = gaussian(std=0.5, clean=0.0)
SPECTRAL = spectral_noise(std=(0.1, 0.2), num_bands=2, clean=0.25, warped=0.0)
SPLIT = Batch(
    np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8),
    np.arange(40, dtype=np.int32),
)


def test_few_images_are_drawn_from_the_whole_split_and_always_the_same() -> None:
    chosen = few(SPLIT, 10)
    np.testing.assert_array_equal(chosen.labels, few(SPLIT, 10).labels)
    np.testing.assert_array_equal(chosen.images, SPLIT.images[chosen.labels])
    assert len(set(chosen.labels.tolist())) == 10
    assert max(chosen.labels) >= 20  # a split sorted by class is not cut off
    for whole in (0, 40, 1000):
        assert few(SPLIT, whole) is SPLIT


def test_corrupted_images_are_fixed_by_their_key() -> None:
    noise = gaussian_noise(std=0.5, clip=False)
    first, again, other = (corrupted(SPLIT, noise, jax.random.key(n)) for n in (0, 0, 1))
    np.testing.assert_array_equal(first.images, again.images)
    assert np.abs(np.asarray(first.images - other.images)).max() > 0.1
    difference = np.asarray(first.images) - SPLIT.images / np.float32(255)
    # The standard deviation of 2,560 draws has a relative standard error of 1/√(2·2560).
    assert abs(difference.std() / 0.5 - 1) < 4 / np.sqrt(2 * 2560)


def test_named_test_images_are_those_of_corrupt() -> None:
    roles: dict[str, Role] = {"contrast": "held_out", "impulse_noise": "kin"}
    _, *sets = named_corruptions(SPLIT, outer_loss=clean_images(), roles=roles)
    assert [(made.corruption, made.severity) for made in sets] == [
        (name, severity) for name in roles for severity in range(1, 6)
    ]
    for made in sets:
        expected = corrupt(SPLIT.images, made.corruption, made.severity, TEST_SEED)
        np.testing.assert_array_equal(made.batch.images, expected)
        assert made.batch.images.dtype == np.uint8


def test_severities_and_images_have_draws_of_their_own() -> None:
    grey = Batch(np.full((30, 8, 8, 1), 128, np.uint8), np.zeros(30, np.int32))
    _, *sets = named_corruptions(
        grey, outer_loss=clean_images(), roles={"gaussian_noise": "held_out"}
    )
    levels = np.stack([made.batch.images for made in sets])
    noise = (levels.astype(float) - 128).reshape(5, 30, -1)
    std = noise.std(axis=(1, 2))
    # 1,920 draws each; rounding to levels adds a variance of 1/12 and shifts the mean by a half.
    expected = 255 * np.array([0.04, 0.06, 0.08, 0.09, 0.10])
    np.testing.assert_allclose(std, np.hypot(expected, 12**-0.5), rtol=4 / np.sqrt(2 * 1920))
    same = np.corrcoef(noise[0, 0], noise[0, 1])[0, 1], np.corrcoef(noise[0, 0], noise[4, 0])[0, 1]
    assert np.abs(same).max() < 4 / np.sqrt(64)


def test_scales_are_clean_seen_or_held_out() -> None:
    sets = noise_scales(SPLIT, roles={s: scale_role(s, GAUSSIAN) for s in (0.3, 0.5)})
    assert [(made.strength, made.role) for made in sets] == [
        (0.0, "clean"),
        (0.3, "held_out"),
        (0.5, "meta_train"),
    ]
    assert scale_role(0.5, clean_images()) == "held_out"
    assert scale_role(0.5, SPECTRAL) == "kin"
    assert scale_role(0.5, names_alone("fog", clean=0.0)) == "held_out"


def test_a_spectrum_holds_all_out_but_its_kin_and_what_rules_were_developed_on() -> None:
    roles = named_roles(SPECTRAL, 3, validation=VALIDATION_4)
    assert {name for name in roles if roles[name] == "validation"} == set(VALIDATION_4)
    assert {name for name in roles if roles[name] == "kin"} == {
        *FAMILIES["noise"],
    } - set(VALIDATION_4)
    assert sum(role == "held_out" for role in roles.values()) == len(roles) - 7
    assert "saturate" not in named_roles(SPECTRAL, 1, validation=())


@pytest.mark.parametrize("fold", ["fold_1", "fold_2", "fold_3"])
def test_a_fold_holds_out_whole_families(fold: str) -> None:
    loss = families(fold=fold, clean=0.2, num_channels=3)
    roles = named_roles(loss, 3, validation=())
    assert {n for n, role in roles.items() if role == "held_out"} == set(SPLITS[fold].held_out)
    assert {n for n, role in roles.items() if role == "meta_train"} == set(SPLITS[fold].meta_train)


def test_what_shares_a_family_with_something_seen_is_kin() -> None:
    loss = families(fold="standard", clean=0.0, num_channels=3)
    roles = named_roles(loss, 3, validation=())
    assert roles["fog"] == roles["defocus_blur"] == "kin"
    assert roles["pixelate"] == "held_out"


def test_named_corruptions_come_with_the_bands_that_were_seen() -> None:
    sets = named_corruptions(SPLIT, outer_loss=SPECTRAL, roles={"contrast": "held_out"})
    assert [(made.corruption, made.severity, made.role) for made in sets] == [
        ("none", None, "clean"),
        ("spectral_noise_0_to_1.5", None, "meta_train"),
        ("spectral_noise_1.5_to_3", None, "meta_train"),
        *(("contrast", severity, "held_out") for severity in range(1, 6)),
    ]


def test_validation_names_corruptions() -> None:
    with pytest.raises(ValueError, match=r"must name corruptions, got 'rain'"):
        named_roles(SPECTRAL, 1, validation=["rain"])
