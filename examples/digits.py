"""What the examples of other libraries train on: scikit-learn's digits, clean and under noise."""

from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits

NUM_TEST, BATCH_SIZE, NOISE_STD = 397, 64, 0.2
STEPS_PER_EPOCH = (1797 - NUM_TEST) / BATCH_SIZE


class Digits(NamedTuple):
    """Standardized images `[images 8 8 1]` and their labels.

    Attributes:
        images: Of training.
        labels: Of training.
        tests: Of testing, by name: the same 397 images clean and under noise.
        answers: The labels of these.
        batches: `[steps batch]`, places of the images of every step.
    """

    images: np.ndarray
    labels: np.ndarray
    tests: dict[str, np.ndarray]
    answers: np.ndarray
    batches: np.ndarray


def load(num_steps: int, seed: int) -> Digits:
    """The digits in a random order, and batches for a run."""
    rng = np.random.default_rng(seed)
    pixels, labels = load_digits(return_X_y=True)
    order = rng.permutation(len(labels))
    images, labels = (pixels.reshape(-1, 8, 8, 1) / 16)[order], labels[order]
    noise = NOISE_STD * rng.normal(size=images[:NUM_TEST].shape)
    mean, std = images[NUM_TEST:].mean(), images[NUM_TEST:].std()
    clean, noisy, train = (
        np.float32((shown - mean) / std)
        for shown in (images[:NUM_TEST], images[:NUM_TEST] + noise, images[NUM_TEST:])
    )
    batches = rng.integers(0, len(train), (num_steps, BATCH_SIZE))
    tests = {"clean": clean, "noise": noisy}
    return Digits(train, labels[NUM_TEST:], tests, labels[:NUM_TEST], batches)


def report(name: str, digits: Digits, logits: dict[str, np.ndarray]) -> None:
    """Print the accuracies of one classifier."""
    found = {test: (rows.argmax(axis=1) == digits.answers).mean() for test, rows in logits.items()}
    words = "  ".join(f"{test} {accuracy:.3f}" for test, accuracy in found.items())
    print(f"{name:8s} {words}  (one classifier, {NUM_TEST} test images)")
