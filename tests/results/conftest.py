from collections.abc import Callable, Sequence

import numpy as np
import pytest

from noiseproof.results import (
    Condition,
    Curves,
    MetaTraining,
    OptimizerEntry,
    Provenance,
    Record,
    Run,
    Scores,
)

NUM_IMAGES = 1000


def record_of(
    accuracies: dict[str, Sequence[Sequence[float]]],
    conditions: Sequence[Condition],
    *,
    diverged: Sequence[tuple[int, int]] = (),
) -> Record:
    """A record of these accuracies, by optimizer, condition and seed."""
    values = np.array(list(accuracies.values()))
    num_optimizers, _, num_seeds = values.shape
    lost = np.zeros((num_optimizers, num_seeds), bool)
    for place in diverged:
        lost[place] = True
    # Losses and errors that two bytes hold exactly.
    loss = np.where(lost[:, None], np.inf, 0.5 + np.zeros(values.shape))
    error = np.where(lost[:, None], np.nan, 0.25 + np.zeros(values.shape))
    points = np.array([[2.25, 0.5]] * num_optimizers)
    return Record(
        Run(
            experiment="test",
            preset="test-preset",
            dataset="digits",
            model="mlp",
            num_steps=20,
            num_images=NUM_IMAGES,
            num_classes=10,
            meta_seed=0,
            meta_training=MetaTraining(4, 160, 1.5, 100.0, "1 × cpu (cpu)"),
            provenance=Provenance(
                *("0.1.0", "unknown", {"meta": [0]}, {"numpy": "2.0"}, "3.11", "Linux", "cpu"),
                *("noiseproof run", {"inner": {"num_steps": 20}}),
            ),
            seeds=list(range(num_seeds)),
            optimizers=[
                OptimizerEntry(name, "hand" if place else "learned", "an outer loss", 3 * place)
                for place, name in enumerate(accuracies)
            ],
            conditions=list(conditions),
        ),
        Scores(np.rint(values * NUM_IMAGES).astype(np.int64), loss, error, lost),
        Curves(np.array([0, 10]), points, points * 0.5, points * 2),
    )


@pytest.fixture(scope="session")
def make_record() -> Callable[..., Record]:
    return record_of


@pytest.fixture
def record() -> Record:
    """Two optimizers, clean images and a corruption at two severities, three seeds."""
    return record_of(
        {
            "mine": [[0.9, 0.8, 0.7], [0.6, 0.5, 0.4], [0.5, 0.4, 0.3]],
            "adam": [[0.9, 0.9, 0.9], [0.3, 0.3, 0.3], [0.2, 0.2, 0.2]],
        },
        [
            Condition("none", "none", "clean", strength=0.0),
            Condition("fog", "photometric", "held_out", severity=1),
            Condition("fog", "photometric", "held_out", severity=2),
        ],
        diverged=[(1, 2)],
    )
