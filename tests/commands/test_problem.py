"""What the settings of an estimator come to."""

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
