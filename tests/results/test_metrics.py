from collections.abc import Callable

import pytest

from noiseproof.results import Condition, Record, robustness_metrics

CLEAN = Condition("none", "none", "clean", strength=0.0)
FOG = [Condition("fog", "photometric", "held_out", severity=s) for s in (1, 2)]
SNOW = [Condition("snow", "weather", "held_out", severity=s) for s in (1, 2)]


def test_errors_by_hand(make_record: Callable[..., Record]) -> None:
    """Mine: clean .2, fog (.2 + .4) / 2 = .3, snow .25. Baseline: clean .1, fog .3, snow .5."""
    record = make_record(
        {
            "mine": [[0.8], [0.8], [0.6], [0.75], [0.75]],
            "adam": [[0.9], [0.8], [0.6], [0.5], [0.5]],
        },
        [CLEAN, *FOG, *SNOW],
    )
    mine, adam = robustness_metrics(record, "adam")
    assert (mine.optimizer, mine.clean_error) == ("mine", pytest.approx(0.2))
    assert mine.mean_error == pytest.approx((0.3 + 0.25) / 2)
    # A ratio of means over severities, corruption by corruption: .3 / .3 and .25 / .5.
    assert mine.mce == pytest.approx((1 + 0.5) / 2)
    # (.3 - .2) / (.3 - .1) = .5 and (.25 - .2) / (.5 - .1) = .125.
    assert mine.relative_mce == pytest.approx((0.5 + 0.125) / 2)
    assert (adam.mce, adam.relative_mce) == (pytest.approx(1), pytest.approx(1))


def test_what_was_meta_trained_on_without_severities_does_not_count(
    make_record: Callable[..., Record],
) -> None:
    """Catches a mean over the learned optimizer's own noise, of which no severity is known."""
    own = Condition("spectral_noise_0_to_1", "noise", "meta_train")
    accuracies = {"mine": [[0.8], [0.9], [0.7], [0.6]], "adam": [[0.8], [0.1], [0.6], [0.6]]}
    mine, _ = robustness_metrics(make_record(accuracies, [CLEAN, own, *FOG]), "adam")
    assert mine.mean_error == pytest.approx(0.35)
    assert mine.mce == pytest.approx(0.35 / 0.4)


def test_a_baseline_that_does_not_degrade_has_no_relative_error(
    make_record: Callable[..., Record],
) -> None:
    record = make_record(
        {"mine": [[0.8], [0.7], [0.6]], "adam": [[0.5], [0.6], [0.6]]}, [CLEAN, *FOG]
    )
    assert robustness_metrics(record, "adam")[0].relative_mce is None


def test_what_cannot_be_computed_is_named(make_record: Callable[..., Record]) -> None:
    perfect = make_record(
        {"mine": [[0.8], [0.7], [0.6]], "adam": [[1.0], [1.0], [1.0]]}, [CLEAN, *FOG]
    )
    with pytest.raises(ValueError, match="baseline must be among mine, adam, got 'sgd'"):
        robustness_metrics(perfect, "sgd")
    with pytest.raises(ValueError, match="adam must make errors under every corruption"):
        robustness_metrics(perfect, "adam")
    strengths = make_record({"mine": [[0.8]], "adam": [[0.7]]}, [CLEAN])
    with pytest.raises(ValueError, match="clean images and corruptions with severities"):
        robustness_metrics(strengths, "adam")
