import contextlib
import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof import seal as seal_module
from noiseproof.checkpoint import load_theta, save_theta

CARD = {
    "rule": "mlp",
    "options": {"hidden_sizes": [16, 16]},
    "meta_trained_on": [["gaussian_noise", 0.5]],
    "seconds": 1 / 3,
    "license": "Apache-2.0 – as the package",
}


def make_theta() -> dict:
    weights = np.asarray([[0.0, -0.0, -3e38], [3e38, 1e-42, 1 / 3]], np.float32)
    return {
        "mlp": {"layer_10": {"weight": jnp.asarray(weights).T}, "layer_2": {"b": np.float32(2)}},
        "log_rate": jnp.zeros(()),
        "empty": jnp.zeros((0, 2), jnp.float16),
    }


@pytest.fixture
def published(tmp_path) -> Path:
    save_theta(tmp_path / "run", make_theta(), CARD)
    return tmp_path / "run"


def test_comes_back_bit_for_bit(published):
    theta, card = load_theta(published)
    expected = make_theta()
    assert jax.tree.structure(theta) == jax.tree.structure(expected)
    for ours, theirs in zip(jax.tree.leaves(theta), jax.tree.leaves(expected), strict=True):
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        assert (ours.dtype, ours.shape, ours.tobytes()) == (
            theirs.dtype,
            theirs.shape,
            theirs.tobytes(),
        )
    assert card.items() >= CARD.items()


def test_files_are_what_others_read(published):
    """Catches a private format: any reader of safetensors and JSON must do."""
    assert sorted(path.name for path in published.iterdir()) == ["theta.json", "theta.safetensors"]
    content = (published / "theta.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert header["mlp/layer_10/weight"]["shape"] == [3, 2]
    card = json.loads((published / "theta.json").read_text())
    assert card["format_version"] == 1
    assert card["theta_sha256"] == seal_module.sha256(content)


def test_a_file_name_names_the_pair(tmp_path):
    weights_file = save_theta(tmp_path / "digits-mlp.safetensors", make_theta(), CARD)
    assert weights_file == tmp_path / "digits-mlp.safetensors"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "digits-mlp.json",
        "digits-mlp.safetensors",
    ]
    assert load_theta(weights_file)[1]["rule"] == "mlp"


def test_a_loaded_pair_can_be_published_again(published, tmp_path):
    theta, card = load_theta(published)
    save_theta(tmp_path / "again", theta, card)
    assert load_theta(tmp_path / "again")[1] == card


@pytest.mark.parametrize("name", ["theta.safetensors", "theta.json"])
def test_every_damage_is_noticed(published, name):
    file = published / name
    whole = file.read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(100):
        flipped = bytearray(whole)
        flipped[generator.integers(len(whole))] ^= 1 << int(generator.integers(8))
        for content in (flipped, whole[: generator.integers(len(whole))]):
            file.write_bytes(content)
            with pytest.raises(ValueError, match=r"is damaged|must have format version"):
                load_theta(published)


@pytest.mark.parametrize("name", ["theta.safetensors", "theta.json"])
def test_a_missing_file_is_named(published, name):
    (published / name).unlink()
    with pytest.raises(ValueError, match=f"{name} is missing"):
        load_theta(published)


def test_weights_of_another_card_are_refused(published, tmp_path):
    save_theta(tmp_path / "other", {"a": jnp.ones(2)}, CARD)
    (tmp_path / "other" / "theta.safetensors").replace(published / "theta.safetensors")
    with pytest.raises(ValueError, match=r"theta.safetensors is damaged or not the one of theta"):
        load_theta(published)


def test_another_format_version_is_named(published, monkeypatch):
    monkeypatch.setattr(seal_module, "FORMAT_VERSION", 2)
    with pytest.raises(ValueError, match="must have format version 2, got 1"):
        load_theta(published)


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        ({"a": [jnp.ones(2)]}, "nested dicts of float16 or float32 arrays, got list at a"),
        ({"a": {"b": np.ones(2)}}, "got float64 at a/b"),
        ({"a": 1.0}, "got float at a"),
        ({"a": jax.random.key(0)}, "got key<fry> at a"),
        (np.ones(2, np.float32), "got float32 at its root"),
        ({"a/b": jnp.ones(2)}, "names without a slash for keys, got 'a/b'"),
        ({0: jnp.ones(2)}, "names without a slash for keys, got 0"),
        ({}, "an array in every dict, got none at its root"),
        ({"a": {}}, "an array in every dict, got none at a"),
    ],
    ids=["list", "float64", "number", "key", "array", "slash", "number as name", "none", "empty"],
)
def test_rejects_other_thetas(tmp_path, theta, message):
    with pytest.raises(ValueError, match=message):
        save_theta(tmp_path, theta, CARD)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rule": None}, r"A card must hold rule \(str\), got None"),
        ({"options": "none"}, r"A card must hold options \(dict\), got 'none'"),
        ({"loss": float("nan")}, "must hold what JSON can, got: .*nan"),
        ({"rate": jnp.ones(2)}, "must hold what JSON can, got: .*not JSON serializable"),
    ],
    ids=["rule", "options", "nan", "array"],
)
def test_rejects_other_cards(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        save_theta(tmp_path, make_theta(), CARD | change)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("operation", ["write_bytes", "replace"])
def test_a_failed_write_leaves_the_old_pair(published, monkeypatch, operation):
    def fail(*args, **kwargs):
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patched:
        patched.setattr(Path, operation, fail)
        with pytest.raises(OSError, match="No space left"):
            save_theta(published, {"a": jnp.ones(2)}, CARD | {"rule": "other"})
    theta, card = load_theta(published)
    assert card["rule"] == "mlp"
    assert set(theta) == {"mlp", "log_rate", "empty"}
    assert len(list(published.iterdir())) == 2


class Killed(BaseException):
    """What no `except Exception` sees, as no process sees its own SIGKILL."""


@pytest.mark.parametrize("is_first", [False, True], ids=["replaced", "first"])
@pytest.mark.parametrize("calls_before", range(5))
def test_killed_while_publishing_leaves_the_old_pair_or_the_new(
    published, tmp_path, monkeypatch, calls_before, is_first
):
    """Between any two of: write weights, write card, name weights, name card."""
    folder, num_calls = tmp_path / "first" if is_first else published, 0

    def killing(function):
        def call(*args, **kwargs):
            nonlocal num_calls
            num_calls += 1
            if num_calls > calls_before:
                raise Killed
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", killing(Path.write_bytes))
        patched.setattr(Path, "replace", killing(Path.replace))
        patched.setattr(Path, "unlink", lambda *args, **kwargs: None)
        with contextlib.suppress(Killed):
            save_theta(folder, {"a": jnp.ones(2)}, CARD | {"rule": "other"})
    if is_first and calls_before < 3:
        with pytest.raises(ValueError, match=r"theta\.safetensors is missing"):
            load_theta(folder)
    else:
        theta, card = load_theta(folder)
        assert (card["rule"], set(theta)) == (
            ("mlp", {"mlp", "log_rate", "empty"}) if calls_before < 3 else ("other", {"a"})
        )
    save_theta(folder, {"b": jnp.ones(2)}, CARD)
    assert set(load_theta(folder)[0]) == {"b"}
    assert len(list(folder.iterdir())) == 2


def test_a_newer_card_says_which_version_reads_it(published):
    """Catches a refusal that leaves a user without a way on."""
    file = published / "theta.json"
    card = json.loads(file.read_text())
    file.write_text(json.dumps(card | {"format_version": 9, "provenance": {"code_version": "4.2"}}))
    with pytest.raises(ValueError, match=r"version 1, got 9; noiseproof 4\.2 or later reads it"):
        load_theta(published)


def test_what_diverged_is_no_theta(tmp_path: Path) -> None:
    """Catches a sealed pair whose weights are no numbers, on which every run would diverge."""
    save_theta(tmp_path, {"step": np.float32([0.0, np.nan])}, {"rule": "mlp", "options": {}})
    with pytest.raises(ValueError, match="must be finite, but 'step' is not"):
        load_theta(tmp_path)
