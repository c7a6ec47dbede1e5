"""How the programs of the outer loop are compiled."""

import ctypes
import sys
from typing import Any

from jax.stages import Wrapped

WIDE_VECTORS = {"xla_cpu_prefer_vector_width": 512}
"""XLA uses half the width of the registers of a CPU with AVX-512 unless asked; with it a learned
step took a tenth less time. No other machine takes notice."""


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
