"""Programs that run a few times are compiled for soon, not for speed."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import jax
from jax.core import Tracer

Given = ParamSpec("Given")
Result = TypeVar("Result")

SOON = {
    "xla_backend_optimization_level": 1,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}
"""Options of XLA by which the corruptions compile in half the processor time, and run as fast."""


def soon_compiled(
    function: Callable[Given, Result], *, static_argnames: tuple[str, ...] = ()
) -> Callable[Given, Result]:
    """As `jax.jit` of a function, but sooner compiled; results may differ in their last bits.

    JAX takes such options for whole programs only: within another the function is as `jax.jit` has
    it, and so it is where a release of JAX does not know one of the options.
    """
    plain = jax.jit(function, static_argnames=static_argnames)
    soon = jax.jit(function, static_argnames=static_argnames, compiler_options=SOON)

    @wraps(soon)
    def call(*args: Given.args, **options: Given.kwargs) -> Result:
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((args, options))):
            return plain(*args, **options)
        try:
            return soon(*args, **options)
        except jax.errors.JaxRuntimeError:
            return plain(*args, **options)

    return call
