import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import pytest
from sklearn.datasets import load_digits

import noiseproof
from noiseproof.checkpoint import load_theta, save_theta
from noiseproof.models import mlp
from noiseproof.optimizers import LEARNED_OPTIMIZERS, nominal_mlp
from noiseproof.zoo import load_learned, shipped_names

PARAMS = [
    {"weight": jnp.ones((16, 4)) / 4, "bias": jnp.zeros(4)},
    {"weight": jnp.ones((4, 3)) / 2, "bias": jnp.zeros(3)},
]
LAYOUT = noiseproof.layout_of(PARAMS, (4, 4, 1))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    theta = nominal_mlp(hidden_sizes=(5,)).init(jax.random.key(0))
    save_theta(tmp_path, theta, {"rule": "nominal_mlp", "options": {"hidden_sizes": [5]}})
    return tmp_path


def recarded(folder: Path, **changes: object) -> Path:
    """The same theta under another card."""
    theta, card = load_theta(folder)
    save_theta(folder, theta, {**card, **changes})
    return folder


@pytest.mark.parametrize("name", shipped_names())
def test_a_shipped_optimizer_says_what_it_is_and_trains(name: str) -> None:
    learned, theta, card = load_learned(name)
    assert card["rule"] in LEARNED_OPTIMIZERS
    assert card["license"] == "Apache-2.0"
    assert card["results"]
    assert card["limits"]
    assert jax.tree.structure(theta) == jax.tree.structure(
        jax.eval_shape(learned.init, jax.random.key(0))
    )
    # Trains a classifier of digits, with the decays that it was meta-trained to.
    images, labels = load_digits(return_X_y=True)
    images, labels = jnp.array(images / 8 - 1, jnp.float32), jnp.array(labels)
    model = mlp(image_shape=(8, 8, 1), num_classes=10)
    params = model.init(jax.random.key(0))
    layout = noiseproof.layout_of(params, (8, 8, 1))
    optimizer, _, answer, _ = noiseproof.recipe(name, num_steps=300, layout=layout)

    def logits(params: list, images: jax.Array) -> jax.Array:
        return model.apply(params, images.reshape(-1, 8, 8, 1))

    def step(carry: tuple, key: jax.Array) -> tuple[tuple, None]:
        params, state = carry
        batch = jax.random.randint(key, (64,), 0, len(labels))

        def loss(params: list) -> jax.Array:
            found = logits(params, images[batch])
            return optax.softmax_cross_entropy_with_integer_labels(found, labels[batch]).mean()

        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(jax.random.key(1), 300)
    (params, state), _ = jax.jit(lambda start: jax.lax.scan(step, start, keys))(
        (params, optimizer.init(params))
    )
    params = answer(params, state)
    assert (logits(params, images).argmax(axis=-1) == labels).mean() > 0.9


def test_there_are_shipped_optimizers() -> None:
    assert shipped_names()


def test_a_folder_and_a_file_are_the_same(saved: Path) -> None:
    first, second = load_learned(saved), load_learned(saved / "theta.safetensors")
    assert first.card == second.card
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), first[1], second[1]))


def test_an_unknown_name_is_said_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=f"no learned optimizer 'nothing'.*{shipped_names()[0]}"):
        load_learned("nothing")


@pytest.mark.parametrize("num_steps", [0, 9, True, jnp.array(5), jnp.array(0)])
def test_a_run_has_ten_steps_at_least(saved: Path, num_steps: int) -> None:
    said = f"num_steps must be a whole number, 10 at least, got {num_steps}; give the length"
    with pytest.raises(ValueError, match=said):
        noiseproof.load(saved, num_steps=num_steps, layout=LAYOUT)


def test_epochs_reach_the_rates_that_count_them(tmp_path: Path) -> None:
    """Catches steps of an epoch that are lost on the way, and a default taken in silence."""
    rule = LEARNED_OPTIMIZERS["universal"](counts_epochs=True)
    theta = rule.init(jax.random.key(0))
    theta = {**theta, "step_epochs": theta["step_epochs"] + 0.1}
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)  # which nothing decays
    save_theta(tmp_path, theta, {"rule": "universal", "options": {"counts_epochs": True}})

    def first_step(**told: float) -> float:
        optimizer = noiseproof.load(tmp_path, num_steps=30, layout=LAYOUT, **told)
        updates, _ = optimizer.update(PARAMS, optimizer.init(zeros), zeros)
        return float(updates[0]["weight"][0, 0])

    with pytest.warns(UserWarning, match="takes two epochs where it is not told; give steps_per_e"):
        untold = first_step()
    assert first_step(steps_per_epoch=15) == pytest.approx(untold)
    longer = (1 + 30) / (1 + 2)
    assert first_step(steps_per_epoch=1) == pytest.approx(untold * longer**0.3, rel=1e-5)
    with pytest.raises(ValueError, match="steps_per_epoch must be positive and finite, got 0"):
        first_step(steps_per_epoch=0)


@pytest.mark.parametrize("layout", [None, {}, [{"w": jnp.ones((16, 3))}]], ids=range(3))
def test_a_layout_holds_roles(saved: Path, layout: object) -> None:
    """Catches a failure at the first step instead of a line that says what to give."""
    with pytest.raises(
        ValueError, match=r"layout must hold the roles .* give noiseproof.layout_of"
    ):
        noiseproof.load(saved, num_steps=10, layout=layout)


def test_a_classifier_holds_weights(saved: Path) -> None:
    with pytest.raises(ValueError, match="params must hold at least one weight, got none; give"):
        noiseproof.load(saved, num_steps=10, layout=LAYOUT).init({})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rule": "velo"}, "is of the rule 'velo'; this version knows .*nominal_mlp"),
        ({"rule": "mlp", "options": {}}, "are not those of the rule mlp"),
        ({"options": {"hidden_sizes": [6]}}, "are not those of the rule nominal_mlp"),
        ({"options": {"width": 6}}, "has options that nominal_mlp does not take"),
    ],
)
def test_a_theta_of_another_rule_is_refused(
    saved: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load_learned(recarded(saved, **changes))


def test_a_damaged_theta_is_refused(saved: Path) -> None:
    path = saved / "theta.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"theta\.safetensors"):
        load_learned(saved)


def test_a_theta_without_its_card_is_refused(saved: Path, tmp_path: Path) -> None:
    lonely = tmp_path / "lonely"
    lonely.mkdir()
    shutil.copy(saved / "theta.safetensors", lonely)
    with pytest.raises(ValueError, match=r"theta\.json"):
        load_learned(lonely)
