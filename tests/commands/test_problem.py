"""What the settings of an estimator come to."""

import jax
import pytest

from noiseproof.commands.problem import build_estimator
from noiseproof.configs import default_config
from noiseproof.metatrain import ESTIMATORS, Objective
from noiseproof.optimizers import LEARNED_OPTIMIZERS
from noiseproof.tasks.quadratic import quadratic

OBJECTIVE = Objective(
    quadratic(num_dimensions=2), LEARNED_OPTIMIZERS["nominal_mlp"](), None, num_steps=20
)
SETTINGS = ["estimator.truncation=5", "estimator.num_pairs=3", "estimator.num_runs=7"]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_takes_the_settings_that_it_has(name: str) -> None:
    """Seen by its inner steps: runs times steps."""
    config = default_config([f"estimator.name={name}", *SETTINGS])
    num_runs = 7 if name.endswith("backprop") else 2 * 3
    num_steps = 20 if name in ("es", "full_backprop") else 5
    assert build_estimator(config, OBJECTIVE).num_inner_steps == num_runs * num_steps


def test_an_unknown_estimator() -> None:
    config = default_config(["estimator.name=guess"])
    with pytest.raises(ValueError, match="guess must be one of es, tes, pes"):
        build_estimator(config, OBJECTIVE)


def test_run_lengths_reach_the_estimator() -> None:
    """Those of a curriculum that has not begun are short, where `num_steps` allows for four."""
    settings = [
        *SETTINGS,
        "estimator.name=truncated_backprop",
        "estimator.run_length=curriculum",
        "estimator.run_length_options.shortest=4",
        "estimator.run_length_options.num_growing=100",
    ]
    estimator = build_estimator(default_config(settings), OBJECTIVE)
    theta = OBJECTIVE.learned.init(jax.random.key(0))
    state = estimator.init(theta, None, jax.random.key(1))
    assert state.num_truncations.tolist() == [1] * 7


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("estimator.run_length=long", "long must be one of constant, log_uniform, curriculum"),
        ("estimator.run_length_options.shortest=4", "constant has no option shortest"),
    ],
)
def test_unknown_run_lengths(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_estimator(default_config([setting, "estimator.truncation=5"]), OBJECTIVE)
