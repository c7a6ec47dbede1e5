"""Programs compiled before they run."""

import logging

import jax
import jax.numpy as jnp
import pytest

from noiseproof.metatrain.compiling import WIDE_VECTORS, compile_ahead


def test_a_program_compiled_ahead_is_not_compiled_again(caplog: pytest.LogCaptureFixture) -> None:
    program = jax.jit(lambda x: jnp.sin(x) + 1.0, compiler_options=WIDE_VECTORS)
    x = jnp.arange(3.0)

    with caplog.at_level(logging.WARNING), jax.log_compiles():
        compile_ahead(program, x)
        ahead = compiled(caplog)
        program(x)
        again = compiled(caplog)
        program(jnp.arange(4.0))

    assert ahead == again < compiled(caplog)


def compiled(caplog: pytest.LogCaptureFixture) -> int:
    """Programs compiled so far, as JAX tells."""
    return sum(
        record.getMessage().startswith("Finished XLA compilation") for record in caplog.records
    )
