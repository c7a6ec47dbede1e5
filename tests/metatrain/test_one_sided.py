"""The unpaired estimator that pairing is measured against, kept beside its study."""

import runpy
from pathlib import Path

import jax
import numpy as np

RESEARCH = Path(__file__).parents[2] / "research"
NUM_ESTIMATES = 12


def test_single_runs_are_unbiased(affine):
    """Catches a baseline that a run is itself part of, and a perturbation of another run.

    A quadratic loss leaves evolution strategies no bias. Bounds are four standard errors.
    """
    one_sided = runpy.run_path(str(RESEARCH / "one_sided.py"))["one_sided"]
    estimator = one_sided(affine.sure, truncation=12, num_runs=500, std=0.5)
    state = jax.jit(estimator.init)(affine.theta, affine.data, jax.random.key(0))
    estimate, found = jax.jit(estimator.estimate), []
    for seed in range(NUM_ESTIMATES):
        one, state = estimate(affine.theta, state, affine.data, jax.random.key(seed))
        found.append(np.asarray(one.gradient["push"]))
    error = np.std(found, axis=0, ddof=1) / NUM_ESTIMATES**0.5
    assert (error < 0.25 * np.abs(affine.exact)).all()  # the test can tell
    assert (np.abs(np.mean(found, axis=0) - affine.exact) < 4 * error).all()
