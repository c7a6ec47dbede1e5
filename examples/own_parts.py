"""Meta-train on your own classifier and your own corruption, then compare with tuned rivals.

    python examples/own_parts.py

A classifier is a `Model` of two functions, a corruption a function of an image and a key. The
classifier here is a small residual perceptron, the corruption a shadow that falls on one side of
the image. Inner training sees clean digits only; the learned optimizer and the rivals' settings
are chosen on shadowed ones, and all are tested on clean digits, on such shadows, on darker ones
that none has met, and on fog and contrast. It takes a few minutes on two cores, and printed means
over the three that none has met of 85.2 ± 1.9 for the learned optimizer, 78.8 ± 1.6 for Muon and
66.6 ± 3.7 for Adam, on clean digits 97.8 ± 0.2, 96.6 ± 0.4 and 97.0 ± 0.4 (percent, n = 10).
"""

import jax
import jax.numpy as jnp
import typer

import noiseproof as npf


def residual_mlp(num_features: int = 32) -> npf.Model:
    """A perceptron whose second layer is added to what goes around it."""
    shapes = {"embed": (64, num_features), "block": (num_features, num_features)}
    shapes["readout"] = (num_features, 10)

    def init(key):
        keys = dict(zip(shapes, jax.random.split(key, len(shapes)), strict=True))
        return {
            name: {
                "weight": jax.random.normal(keys[name], shape) / shape[0] ** 0.5,
                "bias": jnp.zeros(shape[1]),
            }
            for name, shape in shapes.items()
        }

    def apply(params, images):
        embed, block, readout = (params[name] for name in shapes)
        features = images.reshape(len(images), -1) @ embed["weight"] + embed["bias"]
        features += jax.nn.relu(features) @ block["weight"] + block["bias"]
        return jax.nn.relu(features) @ readout["weight"] + readout["bias"]

    return npf.Model(init, apply, image_shape=(8, 8, 1))


def shadow(darkness: float):
    """Takes a share `darkness` of the light from one side, from a random column on."""

    def transform(image, key):
        edge_key, side_key = jax.random.split(key)
        width = image.shape[1]
        right = jnp.arange(width) >= jax.random.randint(edge_key, (), 1, width)
        shaded = jnp.where(jax.random.bernoulli(side_key), right, ~right)
        return image * (1.0 - darkness * shaded[None, :, None])

    return transform


def clean(image, _key):
    """The image as it is."""
    return image


def main(
    num_outer_steps: int = 300,
    num_steps: int = 500,
    num_trials: int = 16,
    num_seeds: int = 10,
    seed: int = 0,
) -> None:
    """Meta-train, tune the rivals on the same loss, train classifiers with all, print the table."""
    meta_key, key = jax.random.split(jax.random.key(seed))
    data = npf.load_dataset("digits")
    parts = (npf.Component(0.5, shadow(0.6), "shadow"), npf.Component(0.5, clean, "clean"))
    loss = npf.mixture(*parts, words="shadows and clean images")
    task = npf.image_classification(residual_mlp(), batch_size=32, outer_loss=loss)
    objective = npf.objective(task, npf.structured(), num_steps=num_steps)
    learned = npf.meta_train(
        objective, npf.nres(num_pairs=8), data, meta_key, num_outer_steps=num_outer_steps
    )
    result = npf.compare(
        {"learned": learned, "adam": npf.RIVALS["adam"], "muon": npf.RIVALS["muon"]},
        task,
        data,
        key,
        num_seeds=num_seeds,
        num_trials=num_trials,
        corruptions=("fog", "contrast"),
        own={"darker shadow": shadow(0.9)},
    )
    print(result)


if __name__ == "__main__":
    typer.run(main)
