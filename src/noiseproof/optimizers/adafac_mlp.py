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
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray, Shaped

from noiseproof.optimizers.features import (
    TIME_SCALES,
    accumulate,
    accumulate_tree,
    check_params,
)
from noiseproof.optimizers.network import (
    check_hidden_sizes,
    init_network,
    sums_of_squares,
    timed_step,
)
from noiseproof.types import Layout, LearnedOptimizer, Optimizer, Params, Theta

MOMENTUM_DECAYS = (0.9, 0.99, 0.999)
SECOND_MOMENT_DECAYS = (0.999,)
FACTORED_DECAYS = (0.9, 0.99, 0.999)
NUM_FEATURES = 28
LOG_SCALE = 10.0
"""One unit of a learned decay moves the logarithm of its distance from 1 by ten."""

Factors: TypeAlias = tuple[Float[Array, "decays ..."], ...]
"""Mean squares of a tensor: along its largest and its second largest axis, which stay as axes of
length 1; of a tensor of less than two axes the squares themselves."""


class FactoredState(NamedTuple):
    """Averages without bias correction, decays along the first axis of every array.

    Attributes:
        step: Steps taken.
        momenta: Of the gradient; every tensor as a vector, which takes half the time.
        second_moments: Of its square, likewise.
        factors: Of its mean squares, for each tensor.
    """

    step: Int[Array, ""]
    momenta: Params
    second_moments: Params
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
            "network": init_network((NUM_FEATURES + len(TIME_SCALES), *hidden_sizes, 2), key),
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
            leaves, treedef = jax.tree.flatten(params)
            state = accumulate_state(theta, state, updates)
            averages = map(jax.tree.leaves, (updates, state.momenta, state.second_moments))
            # The time is that before this step, as everywhere.
            changes = [
                timed_step(theta["network"], features, inputs, state.step - 1, square_sums)
                for inputs in zip(leaves, state.factors, *averages, strict=True)
            ]
            return treedef.unflatten(changes), state

        return optax.GradientTransformation(start, update)

    return LearnedOptimizer(init, optimizer)


def start(params: Params) -> FactoredState:
    """All averages zero."""

    def zeros(num_decays: int) -> Params:
        return jax.tree.map(lambda leaf: jnp.zeros((num_decays, jnp.size(leaf))), params)

    return FactoredState(
        jnp.zeros((), jnp.int32),
        zeros(len(MOMENTUM_DECAYS)),
        zeros(len(SECOND_MOMENT_DECAYS)),
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
    momentum = learned_decays(MOMENTUM_DECAYS, theta["momentum_decays"])[:, None]
    second = learned_decays(SECOND_MOMENT_DECAYS, theta["second_moment_decays"])[:, None]
    factored = learned_decays(FACTORED_DECAYS, theta["factored_decays"])
    vectors = jax.tree.map(jnp.ravel, grads)
    return FactoredState(
        state.step + 1,
        accumulate_tree(state.momenta, vectors, momentum),
        accumulate_squares(state.second_moments, vectors, second),
        tuple(
            accumulate_factors(factors, leaf, factored)
            for factors, leaf in zip(state.factors, jax.tree.leaves(grads), strict=True)
        ),
    )


def accumulate_squares(averages: Params, grads: Params, decay: Float[Array, "decays 1"]) -> Params:
    """The averages of squares after one more gradient."""
    # Only the part that is kept is clipped, as in the source: it must not change its sign.
    kept = jnp.clip(decay, 0.0, 1.0)
    return jax.tree.map(lambda mean, grad: kept * mean + (1.0 - decay) * grad**2, averages, grads)


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
    return tuple(mean_over(squares, axis) for axis in factored_axes(tensor.shape))


def mean_over(tensor: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """The mean over an axis, which stays with length 1; over the last one as a product, which
    takes a CPU less than half the time.
    """
    if axis == tensor.ndim - 1:
        return tensor @ jnp.full((tensor.shape[axis], 1), 1.0 / tensor.shape[axis])
    return tensor.mean(axis=axis, keepdims=True)


def features(inputs: tuple[Any, ...]) -> list[Array]:
    """Gradient, parameter, averages, momenta scaled by them; then the factored ones.

    Args:
        inputs: A tensor of params, its factors, its gradient, its momenta, its second moment.
    """
    param, factors, grad, momenta, second_moment = inputs
    inverse_root = jax.lax.rsqrt(second_moment + 1e-6).reshape(-1, *grad.shape)
    momenta = momenta.reshape(-1, *grad.shape)
    # A vector has one kind of average, which stands for both.
    rows, columns = factors[0], factors[-1]
    grad_scales, momentum_scales = factored_scales(factors, grad.shape)
    return [
        grad[None],
        param[None],
        momenta,
        second_moment.reshape(-1, *grad.shape),
        momenta * inverse_root,
        inverse_root,
        grad * grad_scales,
        rows,
        columns,
        jax.lax.rsqrt(rows + 1e-8),
        jax.lax.rsqrt(columns + 1e-8),
        momenta * momentum_scales,
    ]


def factored_scales(
    factors: Factors, shape: tuple[int, ...]
) -> tuple[Float[Array, "decays ..."], Float[Array, "decays ..."]]:
    """What gradient and momenta are multiplied by, for each decay: about one over the root mean
    square.
    """
    if len(factors) == 1:
        (squares,) = factors
        return jax.lax.rsqrt(jnp.maximum(squares + 1e-9, 1e-9)), jax.lax.rsqrt(squares + 1e-6)
    row, column = (jax.lax.rsqrt(part) for part in squared_scales(factors, shape))
    return row * column, row * column


def squared_scales(factors: Factors, shape: tuple[int, ...]) -> Factors:
    """One over the two parts of the square of a weight's scales: of its row and of its column."""
    row, column = factors
    second = factored_axes(shape)[1]
    share = row / (row.mean(axis=1 + second, keepdims=True) + 1e-9)
    return jnp.maximum(share, 1e-9), jnp.maximum(column, 1e-9)


def square_sums(inputs: tuple[Any, ...]) -> Float[Array, " features"]:
    """The sum of the squares of each of `features`, by fewer passes over a weight than features."""
    param, factors, grad, momenta, second_moment = inputs
    if len(factors) == 1:
        return sums_of_squares(features(inputs))
    momenta = momenta.reshape(-1, *grad.shape)
    inverse_root = jax.lax.rsqrt(second_moment + 1e-6).reshape(-1, *grad.shape)
    rows, columns = (1.0 / part for part in squared_scales(factors, grad.shape))
    of_grad = scaled_square_sums(grad, rows, columns)
    of_momenta = jax.vmap(scaled_square_sums)(momenta, rows[:, None], columns[:, None])
    # Summed as products: XLA's sums take reciprocals one number at a time.
    means = [*(mean**2 for mean in factors), *(1.0 / (mean + 1e-8) for mean in factors)]
    return jnp.concatenate(
        [
            of_grad[:1],
            sums_of_squares([param[None]]),
            of_momenta[:, 0],
            sums_of_squares([second_moment, momenta * inverse_root, inverse_root]),
            of_grad[1:],
            *(mean.reshape(len(mean), -1) @ jnp.ones(mean[0].size) for mean in means),
            of_momenta[:, 1],
        ]
    )


def scaled_square_sums(
    tensor: Float[Array, "..."],
    rows: Float[Array, "scales ..."],
    columns: Float[Array, "scales ..."],
) -> Float[Array, " sums"]:
    """The sum of a weight's squares, and those of its squares times each row times its column.

    All come from one product with the columns, and so from one pass over the weight.
    """
    largest, second = factored_axes(tensor.shape)
    squares = jnp.moveaxis(tensor, (largest, second), (-2, -1)) ** 2
    rows = jnp.moveaxis(rows, (0, 1 + largest, 1 + second), (-3, -2, -1))[..., 0, :]
    columns = jnp.moveaxis(columns, (0, 1 + largest, 1 + second), (-3, -2, -1))[..., 0]
    sums = jnp.concatenate([jnp.ones_like(columns[..., :1, :]), columns], axis=-2) @ squares
    sums = sums * jnp.concatenate([jnp.ones_like(rows[..., :1, :]), rows], axis=-2)
    return sums.sum(axis=(*range(sums.ndim - 2), -1))
