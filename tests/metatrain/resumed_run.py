"""Meta-trains in parts on eight, two and one devices, and at once on one; a program.

    python resumed_run.py FOLDER OUT.npz

Both thetas after ten outer steps go to the file, as `parts` and `whole`.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from spread_run import OPTIONS, PLAN, rates

from noiseproof.metatrain import Objective, Placement, nres, target_of
from noiseproof.metatrain.outer_loop import OuterState, meta_train
from noiseproof.tasks.quadratic import QuadraticData, quadratic


def go_on(folder: Path, num_devices: int, until: int) -> OuterState | None:
    """From the last checkpoint, if there is one; None where it was stopped."""
    mesh = Mesh(np.array(jax.devices()[:num_devices]), ("pairs",)) if num_devices > 1 else None
    task = quadratic(num_dimensions=3, noise_std=1.0)
    objective = Objective(task, rates(), None, num_steps=8, placement=Placement(mesh))
    estimator = nres(objective, **{key: OPTIONS[key] for key in ("num_pairs", "std", "truncation")})
    data = QuadraticData(jnp.array([1.0, 2.0, -1.0]), jnp.array([0.5, 1.0, -1.0]))
    reached = []
    try:
        return meta_train(
            target_of(objective),
            estimator,
            PLAN._replace(num_outer_steps=10, select_every=3),
            data,
            data,
            jax.random.key(0),
            folder=folder,
            resume=True,
            on_metrics=lambda line: reached.append(line.outer_step),
            should_stop=lambda: bool(reached) and reached[-1] + 1 >= until,
        )
    except KeyboardInterrupt:
        return None


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for num_devices, until in ((8, 4), (2, 7)):
        assert go_on(folder / "parts", num_devices, until) is None
    states = {"parts": go_on(folder / "parts", 1, 10), "whole": go_on(folder / "whole", 1, 10)}
    np.savez(sys.argv[2], **{name: state.theta["log_rates"] for name, state in states.items()})
