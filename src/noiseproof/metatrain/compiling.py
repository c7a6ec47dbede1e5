"""How the programs of the outer loop are compiled."""

import ctypes
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

import jax
from jax.stages import Wrapped

WIDE_VECTORS = {"xla_cpu_prefer_vector_width": 512}
"""XLA uses half the width of the registers of a CPU with AVX-512 unless asked; with it a learned
step took a tenth less time. No other machine takes notice."""

RUN_OFTEN = {**WIDE_VECTORS, "xla_cpu_parallel_codegen_split_count": 1}
"""For an outer step: not cut into parts that a CPU compiles side by side, which takes memory."""

RUN_ONCE = {"xla_cpu_use_fusion_emitters": False}
"""For what runs once: the newer kernels of a CPU are faster, and take more memory to compile."""


def known(options: Mapping[str, int | bool]) -> dict[str, int | bool]:
    """Those of the options that this version of XLA knows: its options come and go, and one that
    it does not know stops everything."""
    return {name: value for name, value in options.items() if _is_known(name, value)}


@cache
def _is_known(name: str, value: int | bool) -> bool:
    try:
        jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def compile_ahead(program: Wrapped, *args: Any) -> None:
    """Compiles a program for arguments before it is called with them, which then compiles nothing.

    Compiling takes several times the memory of a small run, and the C library keeps it; between
    compiling and running it can be given back.
    """
    program.lower(*args).compile()
    give_back()


def give_back() -> None:
    """Gives freed memory back to the system, where the C library is glibc; else does nothing."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
