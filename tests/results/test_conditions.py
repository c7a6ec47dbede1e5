import numpy as np

from noiseproof.results import Condition, Record, accuracies


def test_the_mean_over_severities_stands_before_the_first(record: Record) -> None:
    table = accuracies(record)
    clean, one, two = record.run.conditions
    mean = Condition("fog", "photometric", "held_out")
    assert list(table) == [clean, mean, one, two]
    np.testing.assert_allclose(table[mean], (table[one] + table[two]) / 2)
    np.testing.assert_allclose(table[one][0], [0.6, 0.5, 0.4])


def test_a_diverged_run_counts_at_chance_and_others_do_not(record: Record) -> None:
    values = accuracies(record)[record.run.conditions[0]]
    np.testing.assert_allclose(values[1], [0.9, 0.9, 0.1])
