"""Metrics against the RobustBench leaderboard and against answers worked out by hand.

`robustbench_cifar10c.csv` holds accuracies of five models by corruption and severity, from the
results of RobustBench (MIT license, commit 78fcc9e).
"""

import csv
from pathlib import Path

import numpy as np
import pytest

from noiseproof.corruptions.families import STANDARD_15, VALIDATION_4
from noiseproof.evaluate import metrics


def leaderboard():
    with Path(__file__).with_name("robustbench_cifar10c.csv").open() as file:
        names, severities, *rows = csv.reader(file)
    for model, *accuracies in rows:
        errors = {name: [0.0] * 5 for name in STANDARD_15}
        for name, severity, accuracy in zip(names[1:], severities[1:], accuracies, strict=True):
            errors[name][int(severity) - 1] = 1 - float(accuracy)
        yield model, errors


LEADERBOARD = dict(leaderboard())


@pytest.mark.parametrize(
    ("model", "accuracy"),
    [
        ("Standard", 73.46),
        ("Hendrycks2020AugMixWRN", 88.82),
        ("Hendrycks2020AugMixResNeXt", 89.09),
        ("Modas2021PRIMEResNet18", 89.05),
        ("Kireev2021Effectiveness_Gauss50percent", 85.04),
    ],
)
def test_the_mean_corruption_error_is_that_of_the_leaderboard(model, accuracy):
    error = metrics.mean_corruption_error(LEADERBOARD[model])
    assert round(100 * (1 - error), 2) == pytest.approx(accuracy, abs=0.0101)


def test_error_by_corruption_is_the_mean_over_severities():
    # Reference table: glass blur of the standard model 46.6 44.3 43.1 56.8 54.3.
    assert metrics.corruption_error(LEADERBOARD["Standard"]["glass_blur"]) == pytest.approx(
        np.mean([0.466, 0.443, 0.431, 0.568, 0.543]), abs=1e-3
    )
    assert metrics.error_rate(np.array([1, 2, 3, 3]), np.array([1, 2, 0, 0])) == 0.5


def test_normalized_error_of_a_baseline_is_one_and_halves_with_the_error():
    baseline = metrics.BASELINES["wrn-40-2"]
    same = {name: [baseline[name]] * 5 for name in STANDARD_15}
    half = {name: [baseline[name] / 2] * 5 for name in STANDARD_15}
    assert metrics.normalized_corruption_error(same, baseline) == pytest.approx(1)
    assert metrics.normalized_corruption_error(half, baseline) == pytest.approx(0.5)
    # A ratio of sums, not a mean of ratios over severities: (.1 + .3) / (.2 + .2) = 1.
    errors, two = {"fog": [0.1, 0.3]}, {"fog": 0.2}
    assert metrics.normalized_corruption_error(errors, two, ("fog",)) == pytest.approx(1)


def test_relative_error_compares_the_rises_above_clean():
    baseline = {"clean": 0.1, "fog": 0.3, "snow": 0.5}
    errors = {"fog": [0.2, 0.4], "snow": [0.25, 0.25]}
    # (.3 - .2) / (.3 - .1) = .5 and (.25 - .2) / (.5 - .1) = .125.
    value = metrics.relative_corruption_error(errors, 0.2, baseline, ("fog", "snow"))
    assert value == pytest.approx((0.5 + 0.125) / 2)


def test_baselines_cover_what_they_must():
    assert set(metrics.BASELINES["wrn-40-2"]) == {"clean", *STANDARD_15, *VALIDATION_4}
    assert set(metrics.BASELINES["alexnet"]) == {"clean", *STANDARD_15}


def test_a_baseline_relative_to_itself_is_one():
    for baseline in metrics.BASELINES.values():
        errors = {name: [baseline[name]] for name in STANDARD_15}
        value = metrics.relative_corruption_error(errors, baseline["clean"], baseline)
        assert value == pytest.approx(1)


def test_calibration_is_the_gap_between_confidence_and_accuracy():
    # Ten predictions at 0.8, of which 5 are right: gap .3; ten at .6, all right: gap .4.
    probabilities = np.array([[0.8, 0.2]] * 10 + [[0.4, 0.6]] * 10)
    labels = np.array([0] * 5 + [1] * 15)
    value = metrics.expected_calibration_error(probabilities, labels)
    assert value == pytest.approx((0.3 + 0.4) / 2)
    # In a single bin the two gaps have opposite signs: |(.5 - .8) + (1 - .6)| / 2.
    one_bin = metrics.expected_calibration_error(probabilities, labels, num_bins=1)
    assert one_bin == pytest.approx(0.05)


def test_flips_are_counted_from_frame_to_frame_or_against_the_first():
    predictions = np.array([[1, 2, 2, 1], [3, 3, 3, 3]])
    assert metrics.flip_probability(predictions) == pytest.approx(2 / 6)
    noise = np.array([[1, 2, 2, 2]])
    assert metrics.flip_probability(noise) == pytest.approx(1 / 3)
    assert metrics.flip_probability(noise, against_first=True) == 1


def test_the_mean_flip_probability_takes_each_sequence_by_its_own_kind():
    noise, path = np.array([[1, 2, 2, 2]]), np.array([[1, 2, 2, 1]])
    # Against the first frame 1, from frame to frame 2/3.
    predictions = {"shot_noise": noise, "tilt": path}
    value = metrics.mean_flip_probability(predictions, ("shot_noise", "tilt"))
    assert value == pytest.approx((1 + 2 / 3) / 2)
    with pytest.raises(ValueError, match=r"predictions must cover gaussian_noise, .* lack gau"):
        metrics.mean_flip_probability(predictions)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"errors must cover fog, snow, but lack snow\."):
        metrics.mean_corruption_error({"fog": [0.1]}, ("fog", "snow"))
    with pytest.raises(ValueError, match=r"baseline must cover clean, fog, but lack clean\."):
        metrics.relative_corruption_error({"fog": [0.1]}, 0.0, {"fog": 0.2}, ("fog",))
    with pytest.raises(ValueError, match="the baseline must degrade on fog, got 0"):
        metrics.normalized_corruption_error({"fog": [0.1]}, {"fog": 0.0}, ("fog",))
    with pytest.raises(ValueError, match="sequences must have at least 2 frames, got 1"):
        metrics.flip_probability(np.zeros((3, 1), int))
    with pytest.raises(ValueError, match="num_bins must be at least 1, got 0"):
        metrics.expected_calibration_error(np.ones((1, 1)), np.zeros(1, int), num_bins=0)
    with pytest.raises(ValueError, match="predictions must not be empty, got none"):
        metrics.expected_calibration_error(np.ones((0, 2)), np.zeros(0, int))
    with pytest.raises(ValueError, match=r"lie in \[0, 1\], got values from 0.0 to 2.0"):
        metrics.expected_calibration_error(np.array([[2.0, 0.0]]), np.zeros(1, int))
