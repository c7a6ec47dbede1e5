"""What is meta-trained on, by experiment."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.corruptions.families import SPLITS
from noiseproof.corruptions.suites import CORRUPTIONS
from noiseproof.tasks.outer_losses import (
    OUTER_LOSSES,
    OuterLoss,
    clean_images,
    families,
    gaussian,
    named_corruptions,
    spectral_noise,
)

KEY = jax.random.key(0)
SPECTRAL = {"std": (0.1, 0.2), "clean": 0.25, "warped": 0.0}
GREY = jnp.full((16, 16, 1), 0.5)


def build_spectral(**changed) -> OuterLoss:
    return spectral_noise(**{**SPECTRAL, **changed})


def weights(loss: OuterLoss) -> dict[str, float]:
    return {part.name: round(part.weight, 6) for part in loss.components}


def many(loss: OuterLoss, place: int, num_images: int = 400) -> np.ndarray:
    """One component's draws on a grey image."""
    transform = loss.components[place].transform
    keys = jax.random.split(KEY, num_images)
    return np.asarray(jax.vmap(lambda key: transform(GREY, key))(keys))


def test_gaussian_noise_is_one_component_with_clean_images_beside():
    alone = gaussian(std=0.5, clean=0.0)
    assert weights(alone) == {"gaussian_noise": 1.0}
    assert alone.words == "gaussian_noise std 0.5"
    mixed = gaussian(std=0.5, clean=0.2)
    assert weights(mixed) == {"gaussian_noise": 0.8, "clean": 0.2}
    assert mixed.words == "gaussian_noise std 0.5 (20% clean)"
    assert mixed.seen == ("gaussian_noise",)


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan")])
def test_noise_of_no_size_is_refused(std):
    """Catches meta-training on clean images by another name."""
    with pytest.raises(ValueError, match="std must be positive, got"):
        gaussian(std=std)


def test_a_spectrum_is_cut_into_bands_of_equal_weight():
    assert weights(build_spectral()) == {
        "spectral_noise_0_to_1": 0.25,
        "spectral_noise_1_to_2": 0.25,
        "spectral_noise_2_to_3": 0.25,
        "clean": 0.25,
    }
    assert build_spectral(num_bands=1, clean=0.0).components[0].weight == 1.0


def test_no_named_corruption_is_in_a_spectrum_but_its_kin_is_said():
    assert build_spectral().seen == ()
    assert build_spectral().families == ("noise",)
    assert build_spectral(warped=0.2).families == ("noise", "geometric")
    assert weights(build_spectral(warped=0.15))["smooth_warp"] == 0.15
    assert build_spectral(warped=0.2).words.endswith("(25% clean, 20% warped)")


def test_noise_of_a_band_has_its_scale_and_smoothness():
    """The mean square over draws is that of a uniform std, (b³ - a³) / 3(b - a).

    A steep field is mostly one number, so that the square of an image varies like the square of
    a normal times that of the std: its relative variance is at most 3 · 1.6 - 1 < 4.
    """
    expected = (0.2**3 - 0.1**3) / (3 * 0.1)
    roughness = []
    for place in range(3):
        noise = many(build_spectral(), place) - 0.5
        assert (noise**2).mean() == pytest.approx(expected, rel=4 * (4 / 400) ** 0.5)
        steps = np.diff(noise, axis=1)
        roughness.append((steps**2).mean() / (noise**2).mean())
    assert roughness[0] > 2 * roughness[1] > 4 * roughness[2]


def test_families_name_what_they_have_seen():
    names = ("fog", "snow", "frost")
    loss = named_corruptions(*names, clean=0.25)
    assert weights(loss) == {"fog": 0.25, "snow": 0.25, "frost": 0.25, "clean": 0.25}
    assert loss.seen == names
    assert loss.families == ("photometric", "weather")
    assert loss.words == "fog, snow, frost (25% clean)"


def test_severities_of_families_are_random():
    """Contrast has no randomness of its own: what differs is the severity."""
    loss = named_corruptions("contrast", clean=0.0)
    image = jnp.linspace(0.0, 1.0, 64).reshape(8, 8, 1)
    keys = jax.random.split(KEY, 50)
    spread = np.asarray(jax.vmap(lambda key: loss.components[0].transform(image, key))(keys))
    ranges = np.ptp(spread.reshape(50, -1), axis=1)
    assert len(np.unique(ranges)) > 40
    # The constants of severities 1 and 5 are 0.75 and 0.15.
    assert 0.15 <= ranges.min() < 0.3
    assert 0.6 < ranges.max() <= 0.75


def test_a_severity_does_not_decide_what_its_corruption_draws(monkeypatch):
    """Catches one key for both: each uniform draw would then be its severity over again."""

    def drawn(image, severity, key):
        return image.at[0, :2, 0].set(jnp.stack([severity, jax.random.uniform(key)]))

    monkeypatch.setitem(CORRUPTIONS, "contrast", drawn)
    images = many(named_corruptions("contrast", clean=0.0), 0)
    severities, draws = images[:, 0, :2, 0].T
    # Four standard errors of a correlation of 400 independent pairs, 4 / √400.
    assert abs(np.corrcoef(severities, draws)[0, 1]) < 0.2


@pytest.mark.parametrize("fold", ["fold_1", "fold_2", "fold_3"])
def test_no_held_out_family_is_in_an_outer_loss_of_families(fold):
    split = SPLITS[fold]
    loss = families(fold=fold, clean=0.2, num_channels=3)
    assert {part.name for part in loss.components} == {*split.meta_train, "clean"}
    assert not set(loss.seen) & set(split.held_out)


def test_the_control_sees_clean_images():
    (part,) = clean_images().components
    np.testing.assert_array_equal(part.transform(GREY, KEY), GREY)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_bands": 0}, r"num_bands must lie in \[1, 16\], got 0"),
        ({"clean": 1.5}, r"clean must lie in \[0, 1\], got 1.5"),
        ({"warped": -0.5}, r"warped must lie in \[0, 1\], got -0.5"),
        ({"warped": 0.9}, "must add up to at most 1, got 1.15"),
        ({"std": (0.3, 0.2)}, "std must rise from least to greatest, got 0.3 to 0.2"),
        ({"exponent": (3.0, 1.0)}, "exponent must rise from least to greatest, got 3.0 to 1.0"),
        ({"exponent": (-1.0, 3.0)}, "exponents must rise from 0 or more, got -1"),
        ({"warp_std": -1.0}, "max_std must not be negative, got -1"),
    ],
)
def test_bad_spectra_are_named(changed, message):
    with pytest.raises(ValueError, match=message):
        build_spectral(**changed)


def test_families_need_names():
    with pytest.raises(ValueError, match=r"names must be among .*, got ''"):
        named_corruptions()
    with pytest.raises(ValueError, match=r"names must be among .*, got 'rain'"):
        named_corruptions("fog", "rain")


def test_every_kind_is_built_by_some_experiment():
    assert set(OUTER_LOSSES) == {"clean", "gaussian", "spectral", "families"}
