"""Whose searches may be taken over: those of the same problem, as records of any age say it."""

import json
from pathlib import Path

import pytest

from noiseproof.experiment.folder import IMAGES
from noiseproof.experiment.reading import with_settings
from noiseproof.experiment.settings import as_dict
from noiseproof.experiment.tuned import PROBLEM, check_same_problem


def test_a_setting_that_is_newer_than_a_record_has_its_default_there(tmp_path: Path) -> None:
    """Catches records that can not be used any more, and another problem that passes for this."""
    now = as_dict(with_settings({}, [], "settings"))
    older = json.loads(json.dumps(now))
    del older["data"]["num_classes"]
    (tmp_path / "config.json").write_text(json.dumps(older), "utf-8")
    check_same_problem(tmp_path, now, PROBLEM)
    other = as_dict(with_settings({}, ["data.num_classes=3"], "settings"))
    with pytest.raises(
        ValueError, match=r"tuned with 'data.num_classes = 0', not 'data.num_classes = 3'"
    ):
        check_same_problem(tmp_path, other, PROBLEM)


def test_images_count_and_not_the_place_of_their_file(tmp_path: Path) -> None:
    """Catches searches on a file that was replaced, and the same file by another path refused."""
    here, there = (
        as_dict(with_settings({}, [f"data.name={path}"], "settings"))
        for path in ("own.npz", "../d/own.npz")
    )
    (tmp_path / "config.json").write_text(json.dumps(here | {IMAGES: "a"}), "utf-8")
    check_same_problem(tmp_path, there | {IMAGES: "a"}, PROBLEM)
    check_same_problem(tmp_path, here, PROBLEM)
    with pytest.raises(ValueError, match="tuned on other images"):
        check_same_problem(tmp_path, here | {IMAGES: "b"}, PROBLEM)
    with pytest.raises(ValueError, match=r"tuned with \"data\.name = 'own\.npz'\""):
        check_same_problem(tmp_path, there, PROBLEM)


@pytest.mark.parametrize("section", ["7", "[7]", '"x"', "true"])
def test_a_section_that_is_no_object_is_one_line(tmp_path: Path, section: str) -> None:
    """Catches a traceback, and Python's own words on what a dict is made of."""
    (tmp_path / "config.json").write_text(f'{{"data": {section}}}', "utf-8")
    with pytest.raises(ValueError, match=r"must be the folder of a run, with config\.json"):
        check_same_problem(tmp_path, as_dict(with_settings({}, [], "settings")), PROBLEM)
