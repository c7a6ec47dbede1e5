"""How robust a classifier is: errors under corruption, their means, flips and calibration.

Errors are shares from 0 to 1, one list of five severities per corruption. Mean corruption error
comes in two kinds that must not be mixed: on CIFAR-10-C the plain mean, to which the RobustBench
leaderboard's accuracy is the complement (F. Croce and others, 2021, arXiv 2010.09670), and the
original one, normalized by a baseline (D. Hendrycks and T. Dietterich, 2019, arXiv 1903.12261).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from noiseproof.corruptions.families import STANDARD_15
from noiseproof.corruptions.sequences import AGAINST_FIRST, CIFAR_10_P

Errors = Mapping[str, Sequence[float]]
"""Error of one classifier by corruption, at the severities 1 to 5 (or only their mean)."""

BASELINES: dict[str, dict[str, float]] = {
    "wrn-40-2": {
        "clean": 0.05334,
        "gaussian_noise": 0.5443,
        "shot_noise": 0.4202,
        "impulse_noise": 0.4419,
        "defocus_blur": 0.1875,
        "glass_blur": 0.4749,
        "motion_blur": 0.2329,
        "zoom_blur": 0.2535,
        "snow": 0.1870,
        "frost": 0.2296,
        "fog": 0.1213,
        "brightness": 0.0673,
        "contrast": 0.2140,
        "elastic_transform": 0.1725,
        "pixelate": 0.2748,
        "jpeg_compression": 0.2191,
        "speckle_noise": 0.3831,
        "gaussian_blur": 0.3113,
        "spatter": 0.1566,
        "saturate": 0.0838,
    },
    "alexnet": dict(
        zip(
            ("clean", *STANDARD_15),
            (
                0.435,
                *(0.886428, 0.894468, 0.922640, 0.819880, 0.826268, 0.785948, 0.798360, 0.866816),
                *(0.826572, 0.819324, 0.564592, 0.853204, 0.646056, 0.717840, 0.606500),
            ),
            strict=True,
        )
    ),
}
"""Errors, means over severities, of the baselines that errors are normalized by: on CIFAR-10 the
Wide ResNet 40-2 of AugMix (D. Hendrycks and others, 2020, arXiv 1912.02781) under standard training
with corruptions made in memory, on ImageNet AlexNet (its clean error as the paper rounds it)."""


def error_rate(predictions: Int[np.ndarray, " batch"], labels: Int[np.ndarray, " batch"]) -> float:
    """The share of wrong predictions."""
    return float(np.mean(predictions != labels))


def corruption_error(errors: Sequence[float]) -> float:
    """The mean over severities of one corruption."""
    return float(np.mean(errors))


def mean_corruption_error(errors: Errors, names: Sequence[str] = STANDARD_15) -> float:
    """The plain mean over corruptions of the mean over severities, as on CIFAR-10-C.

    Raises:
        ValueError: A corruption of `names` is missing.
    """
    _require(errors, names, "errors")
    return float(np.mean([corruption_error(errors[name]) for name in names]))


def normalized_corruption_error(
    errors: Errors, baseline: Mapping[str, float], names: Sequence[str] = STANDARD_15
) -> float:
    """The mean over corruptions of the error relative to a baseline's: 1 is as bad as that.

    Args:
        errors: Of the classifier.
        baseline: Mean error over severities of each corruption, a row of `BASELINES`.
        names: The corruptions to average over.

    Raises:
        ValueError: A corruption is missing, or the baseline makes no error on one.
    """
    _require(errors, names, "errors")
    _require(baseline, names, "baseline")
    return _mean_ratio(
        {name: corruption_error(errors[name]) for name in names},
        {name: baseline[name] for name in names},
    )


def relative_corruption_error(
    errors: Errors,
    clean_error: float,
    baseline: Mapping[str, float],
    names: Sequence[str] = STANDARD_15,
) -> float:
    """The mean over corruptions of the rise above the clean error, relative to a baseline's rise.

    Args:
        errors: Of the classifier.
        clean_error: Its error without corruption.
        baseline: As in `normalized_corruption_error`, with its own error under `clean`.
        names: The corruptions to average over.

    Raises:
        ValueError: A corruption or `clean` is missing, or the baseline does not degrade on one.
    """
    _require(errors, names, "errors")
    _require(baseline, ("clean", *names), "baseline")
    return _mean_ratio(
        {name: corruption_error(errors[name]) - clean_error for name in names},
        {name: baseline[name] - baseline["clean"] for name in names},
    )


def expected_calibration_error(
    probabilities: Float[np.ndarray, "batch classes"],
    labels: Int[np.ndarray, " batch"],
    *,
    num_bins: int = 15,
) -> float:
    """How far confidence is from accuracy, on average over bins of equal width.

    C. Guo and others, 2017, arXiv 1706.04599: predictions are sorted into bins by the probability
    of the predicted class; bins count by the predictions in them.

    Raises:
        ValueError: There are no predictions, no bins, or probabilities outside [0, 1].
    """
    if num_bins < 1:
        raise ValueError(f"num_bins must be at least 1, got {num_bins}.")
    if len(labels) == 0:
        raise ValueError("predictions must not be empty, got none.")
    if not (probabilities.min() >= 0 and probabilities.max() <= 1 + 1e-6):
        low, high = probabilities.min(), probabilities.max()
        raise ValueError(f"probabilities must lie in [0, 1], got values from {low} to {high}.")
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    # Bins are open on the left, closed on the right.
    index = np.clip(np.ceil(confidence * num_bins).astype(int) - 1, 0, num_bins - 1)
    gaps = np.bincount(index, weights=correct - confidence, minlength=num_bins)
    return float(np.abs(gaps).sum() / len(labels))


def flip_probability(
    predictions: Int[np.ndarray, "sequences frames"], *, against_first: bool = False
) -> float:
    """How often the prediction changes along sequences of slightly changed images.

    Args:
        predictions: Of every frame.
        against_first: Compare with the first frame instead of the one before, for noise, whose
            frames are no path.

    Raises:
        ValueError: There are fewer than two frames.
    """
    if predictions.shape[1] < 2:
        raise ValueError(f"sequences must have at least 2 frames, got {predictions.shape[1]}.")
    before = predictions[:, :1] if against_first else predictions[:, :-1]
    flips = predictions[:, 1:] != before
    return float(flips.mean())


def mean_flip_probability(
    predictions: Mapping[str, Int[np.ndarray, "sequences frames"]],
    names: Sequence[str] = CIFAR_10_P,
) -> float:
    """The plain mean of the flip probabilities of several kinds of sequence, as on CIFAR-10-P.

    Args:
        predictions: By the name of the sequence, a key of `SEQUENCES`; noise is compared with the
            first frame.
        names: The sequences to average over.

    Raises:
        ValueError: A sequence of `names` is missing.
    """
    _require(predictions, names, "predictions")
    flips = [flip_probability(predictions[n], against_first=n in AGAINST_FIRST) for n in names]
    return float(np.mean(flips))


def _mean_ratio(numbers: Mapping[str, float], baseline: Mapping[str, float]) -> float:
    for name, value in baseline.items():
        if not value > 0:
            raise ValueError(f"the baseline must degrade on {name}, got {value:g}.")
    return float(np.mean([numbers[name] / baseline[name] for name in numbers]))


def _require(table: Mapping[str, object], names: Sequence[str], what: str) -> None:
    missing = [name for name in names if name not in table]
    if missing:
        raise ValueError(f"{what} must cover {', '.join(names)}, but lack {', '.join(missing)}.")
