"""Families, splits and the checks that keep kin apart."""

import pytest

from noiseproof.corruptions import CORRUPTIONS
from noiseproof.corruptions.families import (
    FAMILIES,
    FAMILY_OF,
    SPLITS,
    STANDARD_15,
    VALIDATION_4,
    for_channels,
    hold_out_families,
    split,
)
from noiseproof.corruptions.suites import (
    GEOMETRIC,
    IMAGENET_C,
    MNIST_C,
    MNIST_C_SEVERITY,
    OCCLUSIONS,
)


def test_every_corruption_of_its_own_has_one_family():
    assert set(FAMILY_OF) == {*STANDARD_15, *VALIDATION_4, *GEOMETRIC, *OCCLUSIONS}
    assert len(FAMILY_OF) == sum(map(len, FAMILIES.values())) == 26
    assert set(VALIDATION_4) == {"speckle_noise", "gaussian_blur", "spatter", "saturate"}
    assert set(MNIST_C_SEVERITY) == set(MNIST_C)
    assert len(MNIST_C) == 15
    assert {f"imagenet/{name}" for name in (*STANDARD_15, *VALIDATION_4)} == set(IMAGENET_C)


def test_no_split_but_the_standard_one_shares_a_family():
    for name, (meta_train, held_out) in SPLITS.items():
        kin = {FAMILY_OF[n] for n in meta_train} & {FAMILY_OF[n] for n in held_out}
        assert bool(kin) == (name == "standard")


def test_the_three_folds_hold_each_corruption_out_once():
    held_out = [name for fold in (1, 2, 3) for name in SPLITS[f"fold_{fold}"].held_out]
    assert sorted(held_out) == sorted(FAMILY_OF)


def test_grey_images_do_without_saturate():
    assert set(FAMILY_OF) - set(for_channels(tuple(FAMILY_OF), 1)) == {"saturate"}
    assert for_channels(tuple(FAMILY_OF), 3) == tuple(FAMILY_OF)
    color_only = {name for name, row in CORRUPTIONS.items() if row.color_only}
    assert color_only == {"saturate", "imagenet/saturate"}


def test_bad_splits_are_refused():
    with pytest.raises(ValueError, match=r"family 'nose' is unknown; known: noise, blur"):
        hold_out_families("nose")
    with pytest.raises(ValueError, match="a family must be on one side, got noise on both"):
        split(("gaussian_noise",), ("shot_noise",))
    with pytest.raises(ValueError, match="a corruption must be on one side, got fog twice"):
        split(("fog",), ("fog",), share_families=True)
    with pytest.raises(ValueError, match="held_out must name at least one corruption, got none"):
        split(("fog",), ())
    with pytest.raises(ValueError, match="must name corruptions of a family, got 'mnist/fog'"):
        split(("mnist/fog",), ("rotate",))
    assert split(("gaussian_noise",), ("shot_noise",), share_families=True).held_out == (
        "shot_noise",
    )
