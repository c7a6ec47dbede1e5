"""The examples, run as a user runs them, on fewer steps."""

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.checkpoint import save_theta
from noiseproof.optimizers import nominal_mlp
from noiseproof.seal import unseal

EXAMPLES = Path(__file__).parents[1] / "examples"
KEY = jax.random.key(0)
NUM_TEST = 397
# An accuracy of chance over 397 images and 10 classes has a standard error of √(.1 · .9 / 397).
ABOVE_CHANCE = 0.1 + 4 * (0.1 * 0.9 / NUM_TEST) ** 0.5


@pytest.fixture
def run_example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs an example with words of the command line; what it printed."""

    def run(name: str, *words: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *words])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        assert ended.value.code in (None, 0)
        return capsys.readouterr().out

    return run


@pytest.fixture(scope="module")
def own_parts() -> dict[str, Any]:
    """What `own_parts.py` defines."""
    return runpy.run_path(str(EXAMPLES / "own_parts.py"))


def test_the_own_training_loop_trains(run_example: Any, tmp_path: Path) -> None:
    learned = nominal_mlp()
    save_theta(tmp_path, learned.init(jax.random.key(0)), {"rule": "nominal_mlp", "options": {}})
    printed = run_example("own_training_loop.py", str(tmp_path), "--num-steps", "150")
    clean, noisy = (float(text) for text in re.findall(r" (\d\.\d{3})  \(one classifier", printed))
    assert clean > ABOVE_CHANCE
    assert noisy > ABOVE_CHANCE
    # A difference of two accuracies has a standard error of at most √(2 · .25 / 397).
    assert clean - noisy > 4 * (2 * 0.25 / NUM_TEST) ** 0.5


def test_six_constants_train_and_are_those_of_their_record(run_example: Any, monkeypatch) -> None:
    """Catches a program that is not what `distill` printed."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    record = unseal(EXAMPLES.parent / "results" / "distilled" / "mlp" / "distilled.json")
    program = "\n".join(record["program"]).strip()
    assert program in (EXAMPLES / "six_constants.py").read_text("utf-8")
    printed = run_example("six_constants.py", "--num-steps", "150")
    rows = re.findall(r"^(distilled|adam) +clean (\d\.\d{3})  noise (\d\.\d{3})  ", printed, re.M)
    assert [row[0] for row in rows] == ["distilled", "adam"]
    assert min(float(number) for row in rows for number in row[1:]) > ABOVE_CHANCE


@pytest.mark.slow  # half a minute
@pytest.mark.parametrize("name", ["flax_nnx", "flax_linen", "equinox_net", "haiku_net"])
@pytest.mark.filterwarnings("ignore:.*was meta-trained with")
def test_a_net_of_another_library_trains(
    name: str, run_example: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches roles that are read wrong, and state that a library's own loop can not carry."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    printed = run_example(f"{name}.py", "--num-steps", "120")
    rows = re.findall(r"^(learned|adam) +clean (\d\.\d{3})  noise \d\.\d{3}  ", printed, re.M)
    assert [row[0] for row in rows] == ["learned", "adam"]
    assert min(float(row[1]) for row in rows) > ABOVE_CHANCE


@pytest.mark.slow  # a minute of compiling
def test_own_parts_are_compared_under_what_none_has_met(run_example: Any) -> None:
    sizes = {"num-outer-steps": 2, "num-steps": 100, "num-trials": 2, "num-seeds": 2}
    words = [word for name, size in sizes.items() for word in (f"--{name}", str(size))]
    printed = run_example("own_parts.py", *words)
    for name in ("clean", "shadow", "darker shadow", "fog", "contrast"):
        row = re.search(rf"^{name}\S* +([\d.]+) ± [\d.]+ +([\d.]+) ± ", printed, re.M)
        assert row, (name, printed)
        assert min(map(float, row.groups())) > 100 * ABOVE_CHANCE
    assert "n = 2 seeds" in printed


def test_the_shadow_falls_on_one_side(own_parts: dict[str, Any]) -> None:
    image = jnp.ones((6, 9, 3))
    transform = own_parts["shadow"](darkness=0.25)
    fallen = np.asarray(jax.vmap(lambda key: transform(image, key))(jax.random.split(KEY, 50)))
    columns = fallen[:, 0, :, 0]
    assert (fallen == columns[:, None, :, None]).all()
    assert set(np.unique(columns)) == {0.75, 1.0}
    assert (np.abs(np.diff(columns, axis=1)) > 0).sum(axis=1).tolist() == [1] * 50
    assert set(columns[:, 0]) == {0.75, 1.0}


def test_the_residual_perceptron_adds_its_block(own_parts: dict[str, Any]) -> None:
    model = own_parts["residual_mlp"](num_features=5)
    params = model.init(KEY)
    images = jax.random.uniform(KEY, (7, 8, 8, 1))
    logits = model.apply(params, images)
    assert logits.shape == (7, 10)
    empty = jax.tree.map(jnp.zeros_like, params["block"])
    without = model.apply({**params, "block": empty}, images)
    features = images.reshape(7, 64) @ params["embed"]["weight"]
    expected = jax.nn.relu(features) @ params["readout"]["weight"]
    np.testing.assert_allclose(without, expected, rtol=1e-5, atol=1e-6)
    assert float(jnp.abs(logits - without).max()) > 1e-3
