import pytest

from noiseproof.results import Condition, ResultRow, accuracies, condition_words

ROW = ResultRow(
    experiment="test",
    dataset="digits",
    model="mlp",
    optimizer="adam",
    kind="hand",
    tuned_on="outer",
    meta_seed=None,
    corruption="fog",
    family="photometric",
    severity=None,
    strength=None,
    role="held_out",
    seed=0,
    num_steps=500,
    accuracy=0.5,
    loss=1.0,
    diverged=False,
)


def test_strengths_are_conditions_of_their_own() -> None:
    rows = [ROW._replace(strength=0.1, accuracy=0.9), ROW._replace(strength=0.2, accuracy=0.8)]
    found = accuracies(rows)
    assert [(condition.strength, cells) for condition, cells in found.items()] == [
        (0.1, {"adam": {0: 0.9}}),
        (0.2, {"adam": {0: 0.8}}),
    ]


def test_mean_over_severities_is_within_a_seed() -> None:
    rows = [
        ROW._replace(severity=severity, seed=seed, accuracy=accuracy)
        for severity, accuracy in [(1, 0.8), (2, 0.4)]
        for seed in (0, 1)
    ]
    found = accuracies([*rows, ROW._replace(corruption="none", strength=0.0, role="clean")])
    sizes = [(condition.corruption, condition.severity) for condition in found]
    assert sizes == [("fog", None), ("fog", 1), ("fog", 2), ("none", None)]
    assert next(iter(found.values())) == {"adam": {0: pytest.approx(0.6), 1: pytest.approx(0.6)}}


def test_a_severity_that_lacks_a_seed_is_named() -> None:
    rows = [ROW._replace(severity=1), ROW._replace(severity=1, seed=1), ROW._replace(severity=2)]
    with pytest.raises(ValueError, match="same seeds at all severities of fog"):
        accuracies(rows)


def test_a_run_must_not_be_counted_twice() -> None:
    with pytest.raises(ValueError, match="got seed 0 of adam twice under fog on digits with mlp"):
        accuracies([ROW, ROW._replace(accuracy=0.6)])


def test_conditions_in_words() -> None:
    plain = Condition("digits", "mlp", "fog", "photometric", None, None, "held_out")
    assert condition_words(plain) == "fog on digits with mlp"
    assert condition_words(plain._replace(severity=3)) == "fog on digits with mlp, severity 3"
    assert condition_words(plain._replace(strength=0.5)) == "fog on digits with mlp, strength 0.5"
