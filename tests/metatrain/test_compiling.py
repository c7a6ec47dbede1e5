"""Programs compiled before they run."""

import logging

import jax
import jax.numpy as jnp
import pytest

from noiseproof.metatrain.compiling import RUN_OFTEN, WIDE_VECTORS, compile_ahead, known


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


def test_options_that_xla_does_not_know_are_left_out() -> None:
    """Catches meta-training that stops with a traceback under another version of JAX."""
    optimization = {"xla_backend_optimization_level": 0}

    assert known({"xla_no_such_option": 1, **optimization}) == optimization
    jax.jit(jnp.sin, compiler_options=known({"xla_no_such_option": 1} | RUN_OFTEN))(0.0)


def compiled(caplog: pytest.LogCaptureFixture) -> int:
    """Programs compiled so far, as JAX tells."""
    return sum(
        record.getMessage().startswith("Finished XLA compilation") for record in caplog.records
    )
