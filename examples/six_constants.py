"""A learned optimizer as a program of twenty lines, beside Adam.

    python examples/six_constants.py

The program is what `noiseproof distill spectral-fashion-mlp` found: six constants in place of
92 learned numbers. It needs JAX and optax alone, so copy it. The page on the study says what it
keeps of the learned optimizer's gain on three problems. Digits are none of them: one classifier of
each shows how it is used, and not how good it is.
"""

# fmt: off
import jax, jax.numpy as jnp, optax
LR, SHARE, DECAY, BANDS, MEAN, BIAS = 0.0106, 0.796, 0.628, 0.0294, 1.35, 0.266
def orthogonalized(m):  # all singular values about equal, root mean square 0.5
    x = m.reshape(-1, m.shape[-1]) / (jnp.linalg.norm(m) + 1e-30)
    for g in (x.T @ x for _ in range(5)):
        x = x @ (3.4445 * jnp.eye(len(g)) - 4.775 * g + 2.0315 * g @ g)
    return 0.5 * max(x.shape) ** 0.5 * x.reshape(m.shape)
def distilled(num_steps, first):  # first: jax.tree_util.keystr of the first layer's weight
    adam = optax.scale_by_adam()
    def update(grads, state, params):
        directions, new = adam.update(grads, state)
        cosine = 0.5 + 0.5 * jnp.cos(jnp.pi * jnp.minimum(state.count / num_steps, 1.0))
        def change(path, d, m, w):  # of a direction, a momentum and a weight, units last
            if w.ndim < 2: return d + BIAS * w
            mean = w.mean(axis=tuple(range(w.ndim - 1)), keepdims=True)
            pull = BANDS * (w - mean) + MEAN * mean if jax.tree_util.keystr(path) == first else 0
            return (1 - SHARE) * d + SHARE * orthogonalized(m) + DECAY * w + pull
        pulled = jax.tree_util.tree_map_with_path(change, directions, new.mu, params)
        return jax.tree.map(lambda p: -LR * jnp.maximum(cosine, 0.01) * p, pulled), new
    return optax.GradientTransformation(adam.init, update)
# fmt: on

import typer

import digits


def init(key: jax.Array) -> list[dict[str, jax.Array]]:
    """The weights of a 64-32-10 perceptron; any pytree of arrays will do, units last."""
    first, second = jax.random.split(key)
    return [
        {"weight": jax.random.normal(first, (64, 32)) / 6, "bias": jnp.zeros(32)},
        {"weight": jax.random.normal(second, (32, 10)) / 4, "bias": jnp.zeros(10)},
    ]


def classify(params: list[dict[str, jax.Array]], images: jax.Array) -> jax.Array:
    """Logits of a batch of images."""
    hidden, readout = params
    features = jax.nn.relu(images.reshape(-1, 64) @ hidden["weight"] + hidden["bias"])
    return features @ readout["weight"] + readout["bias"]


def main(num_steps: int = 500, seed: int = 0) -> None:
    """Train on clean digits with both optimizers; test clean and under noise."""
    data = digits.load(num_steps, seed)
    optimizers = {"distilled": distilled(num_steps, "[0]['weight']"), "adam": optax.adam(3e-3)}
    for name, optimizer in optimizers.items():
        params = init(jax.random.key(seed))
        state = optimizer.init(params)

        @jax.jit
        def step(params, state, images, labels, optimizer=optimizer):
            def loss(params):
                logits = classify(params, images)
                return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

            updates, state = optimizer.update(jax.grad(loss)(params), state, params)
            return optax.apply_updates(params, updates), state

        for batch in data.batches:
            params, state = step(params, state, data.images[batch], data.labels[batch])
        logits = {test: classify(params, shown) for test, shown in data.tests.items()}
        digits.report(name, data, logits)


if __name__ == "__main__":
    typer.run(main)
