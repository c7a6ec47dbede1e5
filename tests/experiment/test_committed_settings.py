"""The commands that stand beside committed records are those that made them, and still work."""

import json
import re
import shlex
from itertools import pairwise
from pathlib import Path

from noiseproof.experiment.meta_trained import judged_alone, settings_of
from noiseproof.experiment.reading import load_preset, with_settings
from noiseproof.experiment.settings import Settings, as_dict
from noiseproof.zoo import load_learned

RESULTS = Path(__file__).parents[2] / "results"


def settings_from(command: str, words: list[str]) -> Settings:
    """What `run` or `evaluate` makes of these words."""
    settings = [after for word, after in pairwise(words) if word == "--set"]
    if command == "run":
        return load_preset(words[0], settings)
    values = judged_alone(settings_of(load_learned(words[0]), words[0]))
    return with_settings(values, settings, "settings")


def test_a_records_command_gives_the_settings_that_it_keeps() -> None:
    text = (RESULTS / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| `([^`]+)` \| `noiseproof (run|evaluate) ([^`]*)`", text, re.M)
    assert len(rows) > 30
    for folder, command, words in rows:
        kept = json.loads((RESULTS / folder / "config.json").read_text("utf-8"))
        del kept["preset"], kept["seed"]
        found = as_dict(settings_from(command, shlex.split(words)))
        if "augmented_rival" in kept["tuning"]:
            # Of an older court: rivals are tuned otherwise now, all else is as it was.
            del found["tuning"], kept["tuning"]
        # A setting that is newer than a record has its default there.
        kept = as_dict(with_settings(kept, [], folder))
        assert found == {name: kept[name] for name in found}, folder
