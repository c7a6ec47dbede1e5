import jax
import jax.numpy as jnp
import numpy as np

from noiseproof.numerics import compiling


def add(power, numbers):
    return (numbers**power).sum()


def test_it_computes_alone_and_within_other_programs() -> None:
    """Catches options within a program, where JAX refuses them."""
    program = compiling.quickly_compiled(add, static_argnames=("power",))
    numbers = jnp.arange(4.0)
    assert program(2, numbers) == 14.0
    assert jax.jit(lambda numbers: program(3, numbers))(numbers) == 36.0
    np.testing.assert_array_equal(jax.vmap(lambda row: program(1, row))(numbers[:, None]), numbers)


def test_it_does_without_an_option_that_xla_does_not_know(monkeypatch) -> None:
    """Catches programs that end with a release of JAX that dropped an option."""
    monkeypatch.setattr(compiling, "QUICK", {"xla_cpu_no_such_option": True})
    program = compiling.quickly_compiled(add, static_argnames=("power",))
    assert program(2, jnp.arange(4.0)) == 14.0
