"""`adafac_mlp`: a very small network per parameter on many inputs, Adafactor's among them.

Rich inputs let the network be tiny: beside gradient, parameter and momenta it sees second moments
kept whole and kept factored, by rows and columns of a weight, and the gradient scaled by them as
Adafactor does (Shazeer and Stern, arXiv 1804.04235). The decays of all averages are learned too.

Source: Metz, Freeman, Harrison, Maheswaranathan, Sohl-Dickstein: Practical tradeoffs between
memory, compute, and performance in learned optimizers, arXiv 2203.11860.
"""

from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray, Shaped

from noiseproof.optimizers.features import (
    TIME_SCALES,
    accumulate,
    check_params,
    slices,
    tensor_sizes,
)
from noiseproof.optimizers.network import check_hidden_sizes, init_network, timed_step
from noiseproof.types import Layout, LearnedOptimizer, Optimizer, Params, Theta

MOMENTUM_DECAYS = (0.9, 0.99, 0.999)
SECOND_MOMENT_DECAYS = (0.999,)
FACTORED_DECAYS = (0.9, 0.99, 0.999)
NUM_ROWS = 28
LOG_SCALE = 10.0
"""One unit of a learned decay moves the logarithm of its distance from 1 by ten."""

Factors: TypeAlias = tuple[Float[Array, "decays ..."], ...]
"""Mean squares of a tensor: along its largest and its second largest axis, which stay as axes of
length 1; of a tensor of less than two axes the squares themselves."""


class FactoredState(NamedTuple):
    """Averages without bias correction, the leading axis over decays.

    Attributes:
        step: Steps taken.
        momenta: Of the gradient.
        second_moments: Of its square.
        factors: Of its mean squares, for each tensor.
    """

    step: Int[Array, ""]
    momenta: Float[Array, "decays parameters"]
    second_moments: Float[Array, "decays parameters"]
    factors: tuple[Factors, ...]


def adafac_mlp(*, hidden_sizes: tuple[int, ...] = (4, 4)) -> LearnedOptimizer:
    """A step is 0.001 · direction · exp(0.001 · magnitude), both from the network.

    Args:
        hidden_sizes: Units of the network's hidden layers.

    Raises:
        ValueError: No hidden layer, or an empty one.
    """
    check_hidden_sizes(hidden_sizes)

    def init(key: PRNGKeyArray) -> Theta:
        return {
            "network": init_network((NUM_ROWS + len(TIME_SCALES), *hidden_sizes, 2), key),
            "momentum_decays": jnp.zeros(len(MOMENTUM_DECAYS)),
            "second_moment_decays": jnp.zeros(len(SECOND_MOMENT_DECAYS)),
            "factored_decays": jnp.zeros(len(FACTORED_DECAYS)),
        }

    def optimizer(theta: Theta, _num_steps: int | Int[Array, ""], _layout: Layout) -> Optimizer:
        # The network sees the step, not its share of the run, so the run's length is not used.
        def update(
            updates: Params, state: Any, params: Params | None = None
        ) -> tuple[Params, FactoredState]:
            check_params(params)
            row, unravel = ravel_pytree(params)
            state = accumulate_state(theta, state, updates)
            rows = feature_rows(row, updates, state)
            # The time is that before this step, as everywhere.
            change = timed_step(theta["network"], rows, state.step - 1, tensor_sizes(params))
            return unravel(change), state

        return optax.GradientTransformation(start, update)

    return LearnedOptimizer(init, optimizer)


def start(params: Params) -> FactoredState:
    """All averages zero."""
    num_parameters = sum(tensor_sizes(params))
    return FactoredState(
        jnp.zeros((), jnp.int32),
        jnp.zeros((len(MOMENTUM_DECAYS), num_parameters)),
        jnp.zeros((len(SECOND_MOMENT_DECAYS), num_parameters)),
        tuple(start_factors(leaf) for leaf in jax.tree.leaves(params)),
    )


def start_factors(tensor: Shaped[ArrayLike, "..."]) -> Factors:
    """The zero averages of one tensor."""
    means = jax.eval_shape(mean_squares, tensor)
    return tuple(jnp.zeros((len(FACTORED_DECAYS), *mean.shape)) for mean in means)


def learned_decays(
    initial: tuple[float, ...], shift: Float[Array, " decays"]
) -> Float[Array, " decays"]:
    """Decays whose distance from 1 is learned on a logarithmic scale."""
    return 1.0 - (1.0 - jnp.array(initial)) * jnp.exp(LOG_SCALE * shift)


def accumulate_state(theta: Theta, state: FactoredState, grads: Params) -> FactoredState:
    """The averages after one more gradient."""
    grad = ravel_pytree(grads)[0]
    momentum = learned_decays(MOMENTUM_DECAYS, theta["momentum_decays"])[:, None]
    second = learned_decays(SECOND_MOMENT_DECAYS, theta["second_moment_decays"])[:, None]
    factored = learned_decays(FACTORED_DECAYS, theta["factored_decays"])
    return FactoredState(
        state.step + 1,
        accumulate(state.momenta, grad, momentum),
        # Only the part that is kept is clipped, as in the source: it must not change its sign.
        jnp.clip(second, 0.0, 1.0) * state.second_moments + (1.0 - second) * grad**2,
        tuple(
            accumulate_factors(factors, leaf, factored)
            for factors, leaf in zip(state.factors, jax.tree.leaves(grads), strict=True)
        ),
    )


def accumulate_factors(
    factors: Factors, grad: Float[Array, "..."], decays: Float[Array, " decays"]
) -> Factors:
    """The averages of one tensor's mean squares after one more gradient."""
    return tuple(
        accumulate(average, mean, decays.reshape(-1, *[1] * mean.ndim))
        for average, mean in zip(factors, mean_squares(grad), strict=True)
    )


def factored_axes(shape: tuple[int, ...]) -> tuple[int, int]:
    """The largest axis and the second largest; of two of one length the later is the larger."""
    second, largest = sorted(range(len(shape)), key=lambda axis: shape[axis])[-2:]
    return largest, second


def mean_squares(tensor: Float[Array, "..."]) -> tuple[Float[Array, "..."], ...]:
    """What is kept of the squares of a tensor: two means of a weight, all of a vector's."""
    squares = tensor**2 + 1e-30
    if tensor.ndim < 2:
        return (squares,)
    return tuple(squares.mean(axis=axis, keepdims=True) for axis in factored_axes(tensor.shape))


def feature_rows(
    row: Float[Array, " parameters"], grads: Params, state: FactoredState
) -> Float[Array, "features parameters"]:
    """Gradient, parameter, averages, momenta scaled by them; then the factored ones."""
    inverse_root = jax.lax.rsqrt(state.second_moments + 1e-6)
    leaves = jax.tree.leaves(grads)
    momenta = slices(state.momenta, tensor_sizes(grads))
    return jnp.concatenate(
        [
            jnp.stack([ravel_pytree(grads)[0], row]),
            state.momenta,
            state.second_moments,
            state.momenta * inverse_root,
            inverse_root,
            jnp.concatenate(
                [
                    factored_rows(*parts)
                    for parts in zip(leaves, momenta, state.factors, strict=True)
                ],
                axis=1,
            ),
        ]
    )


def factored_rows(
    grad: Float[Array, "..."], momenta: Float[Array, "decays size"], factors: Factors
) -> Float[Array, "features size"]:
    """The features of one tensor that come from its mean squares."""
    grad_scale, momentum_scale = factored_scales(factors, grad.shape)
    # A vector has one kind of average, which stands for both.
    averages = (factors[0], factors[-1])
    parts = (
        grad * grad_scale,
        *averages,
        *(jax.lax.rsqrt(average + 1e-8) for average in averages),
        momenta.reshape(-1, *grad.shape) * momentum_scale,
    )
    shape = (momenta.shape[0], *grad.shape)
    return jnp.concatenate([jnp.broadcast_to(part, shape).reshape(momenta.shape) for part in parts])


def factored_scales(
    factors: Factors, shape: tuple[int, ...]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """What gradient and momenta are multiplied by: about one over the root mean square."""
    if len(factors) == 1:
        (squares,) = factors
        return jax.lax.rsqrt(jnp.maximum(squares + 1e-9, 1e-9)), jax.lax.rsqrt(squares + 1e-6)
    row, column = factors
    second = factored_axes(shape)[1]
    share = row / (row.mean(axis=1 + second, keepdims=True) + 1e-9)
    scale = jax.lax.rsqrt(jnp.maximum(share, 1e-9)) * jax.lax.rsqrt(jnp.maximum(column, 1e-9))
    return scale, scale
