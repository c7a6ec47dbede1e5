"""Programs that run only a few times: fast to compile, rather than fast to run."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import jax
from jax.core import Tracer

Given = ParamSpec("Given")
Result = TypeVar("Result")

QUICK = {
    "xla_backend_optimization_level": 1,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}
"""Options of XLA. With them the corruptions compile in half the processor time and run as fast."""


def quickly_compiled(
    function: Callable[Given, Result], *, static_argnames: tuple[str, ...] = ()
) -> Callable[Given, Result]:
    """As `jax.jit`, but faster to compile; results may differ in their last bits.

    JAX takes such options for whole programs only. So within another program this is `jax.jit`
    itself, and also where a release of JAX does not know one of the options.

    Args:
        function: Of arrays, and of what `static_argnames` names.
        static_argnames: Arguments that each value compiles a program of its own for.
    """
    plain = jax.jit(function, static_argnames=static_argnames)
    quick = jax.jit(function, static_argnames=static_argnames, compiler_options=QUICK)

    @wraps(quick)
    def call(*args: Given.args, **options: Given.kwargs) -> Result:
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((args, options))):
            return plain(*args, **options)
        try:
            return quick(*args, **options)
        except jax.errors.JaxRuntimeError:
            return plain(*args, **options)

    return call
