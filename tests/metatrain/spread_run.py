"""Meta-trains for ten outer steps on some devices; a program, since JAX counts devices once.

    python spread_run.py OUT.npz ESTIMATOR,... DEVICES,... PAIRS [PORT PROCESS_ID]

For each estimator and number of devices, theta, the last meta-gradient, what else the estimate
says and a score go to the file as `ESTIMATOR/DEVICES/theta` and so on; and as `.../exchanged` the
bytes that an outer step exchanges. With a port this is one of two processes.
"""

import functools
import inspect
import sys
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh

from noiseproof.metatrain import ESTIMATORS, Objective, Placement, target_of
from noiseproof.metatrain.outer_loop import Plan, build_steps
from noiseproof.metatrain.processes import connect, is_first_process
from noiseproof.metatrain.sharding import exchanged_bytes, replicate
from noiseproof.tasks.quadratic import QuadraticData, quadratic
from noiseproof.types import LearnedOptimizer

OPTIONS = {"num_pairs": 8, "num_runs": 8, "std": 0.05, "truncation": 4}
PLAN = Plan(num_outer_steps=100, learning_rate=0.1, warmup_share=0.0, num_select_runs=3)


def rates() -> LearnedOptimizer:
    """Descent at a learned rate in each direction."""

    def optimizer(theta, _num_steps, _layout):
        def update(updates, state, params=None):
            return {"weight": -jnp.exp(theta["log_rates"]) * updates["weight"]}, state

        return optax.GradientTransformation(lambda _params: (), update)

    return LearnedOptimizer(lambda _key: {"log_rates": jnp.full(3, -3.0)}, optimizer)


def ten_steps(name: str, num_devices: int, num_pairs: int) -> dict[str, np.ndarray]:
    mesh = Mesh(np.array(jax.devices()[:num_devices]), ("pairs",)) if num_devices > 1 else None
    task = quadratic(num_dimensions=3, noise_std=1.0)
    objective = Objective(task, rates(), None, num_steps=8, placement=Placement(mesh))
    known = inspect.signature(ESTIMATORS[name]).parameters
    changed = {**OPTIONS, "num_pairs": num_pairs, "num_runs": num_pairs}
    options = {key: value for key, value in changed.items() if key in known}
    # Half of the time to compile is spent on speed that is not needed here.
    quick = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    with mock.patch.object(jax, "jit", quick):
        steps = build_steps(target_of(objective), ESTIMATORS[name](objective, **options), PLAN)
    data = QuadraticData(jnp.array([1.0, 2.0, -1.0]), jnp.array([0.5, 1.0, -1.0]))
    data, key = replicate(data, mesh), jax.random.key(0)
    state = steps.start(data, key, key)
    for _ in range(10):
        state, found, _norm = steps.advance(state, data, key)
    rows = {
        "theta": state.theta,
        "gradient": found.gradient,
        "said": found[1:],
        "score": steps.score(state.theta, data, key),
        "exchanged": exchanged_bytes(*steps.programs(state, data, key)),
    }
    place = f"{name}/{num_devices}"
    return {f"{place}/{what}": np.asarray(ravel_pytree(row)[0]) for what, row in rows.items()}


if __name__ == "__main__":
    out, names, numbers, num_pairs, *process = sys.argv[1:]
    if process:
        connect(f"127.0.0.1:{process[0]}", 2, int(process[1]))
    found = {}
    for name in names.split(","):
        for number in numbers.split(","):
            found |= ten_steps(name, int(number), int(num_pairs))
    if is_first_process():
        np.savez(out, **found)
