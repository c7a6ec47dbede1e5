"""Cards as text, and learned optimizers in the layout of a model hub."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

import noiseproof
from noiseproof.results import read_record, summarize
from noiseproof.zoo import in_a_line, load_learned, publish, shipped_names
from noiseproof.zoo.cards import gain, good_for

RESULTS = Path(__file__).parents[2] / "results"
JUDGED = {
    **{path.name.removeprefix("court-"): path for path in RESULTS.glob("court-*")},
    **{path.parent.name: path for path in RESULTS.glob("gaussian-*/seed-0")},
}
"""The records of what ships under the present search."""


def test_a_card_prints_as_text_and_reads_as_a_dict() -> None:
    """Catches a card that lost a method of dicts, and a page of JSON where a text is wanted."""
    card = noiseproof.card("spectral-fashion-mlp")
    assert dict(card) == load_learned("spectral-fashion-mlp").card
    assert card["rule"] == card.get("rule") == "structured"
    assert card.get("nothing", 3) == 3
    assert "limits" in card
    assert len(card) == len(list(card.items())) == len(list(card.values()))
    assert len(repr(card).splitlines()) < 12
    assert "6,634 weights on 14×14×1 images" in repr(card)


@pytest.mark.parametrize("name", JUDGED)
def test_the_gain_is_that_of_the_record_over_the_strongest_rival(name: str) -> None:
    """Catches a gain over a weak rival, over a control, or of an older, weaker search."""
    summary = summarize(read_record(JUDGED[name]))
    rivals = {
        name: one
        for name, one in summary.held_out_improved.items()
        if not name.startswith("structured")
    }
    strongest = max(rivals.values(), key=lambda one: one.rival_mean)
    said = gain(noiseproof.card(name).content)
    assert said.startswith(f"{100 * strongest.difference:+.1f} ±")
    assert f"of {len(rivals)} tuned rivals, over {strongest.of} held-out" in said


def test_what_was_meta_trained_on_many_tasks_is_good_for_many_sizes() -> None:
    """Catches a card that speaks of the one problem it is judged on first."""
    card = noiseproof.card("universal")
    lengths = sorted(task["inner"]["num_steps"] for task in card["tasks"])
    said = good_for(card.content)
    assert f"{len(card['tasks'])} small ones" in said
    assert f"{lengths[0]:,} to {lengths[-1]:,} steps" in said


def test_a_card_that_says_little_is_printed_all_the_same() -> None:
    assert in_a_line("own", {"rule": "structured", "meta_trained_on": "fog"}).startswith("own: ")
    assert gain({"rule": "structured", "results": {"structured initial": {}}}) is None


def test_a_published_folder_is_loaded_as_the_run_is(tiny_run: Path, tmp_path: Path) -> None:
    """Catches a hub's folder that lacks its card, or whose head is no metadata."""
    folder = publish(tiny_run, tmp_path / "mine")
    before, after = load_learned(tiny_run), load_learned(folder)
    jax.tree.map(np.testing.assert_array_equal, before.theta, after.theta)
    assert before.card == after.card
    assert read_record(folder).run == read_record(tiny_run).run
    page = (folder / "README.md").read_text("utf-8")
    head = re.match(r"---\n(.*?)\n---\n\n# mine\n", page, re.S)[1]
    assert dict(line.split(": ") for line in head.splitlines()) == {
        "license": '"apache-2.0"',
        "library_name": '"noiseproof"',
        "tags": '["learned-optimizer", "robustness", "corruptions", "jax", "structured"]',
        "datasets": '["digits"]',
    }
    named = re.findall(r"^- `(.*)`$", page, re.M)
    assert {path.name for path in folder.iterdir()} == {"README.md", *named}
    with pytest.raises(ValueError, match="is in use: choose another with --out"):
        publish(tiny_run, folder)


def test_a_published_folder_is_taken_by_pytorch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from noiseproof.torch import LearnedOptimizer

    folder = publish(shipped_names()[0], tmp_path / "mine")
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    assert LearnedOptimizer(model, name=folder, num_steps=1000, image_shape=(1, 8, 8))
