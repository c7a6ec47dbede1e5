"""How Sphinx makes the site of these pages: `make docs`."""

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

project, release = PROJECT["name"], PROJECT["version"]
author = copyright = PROJECT["authors"][0]["name"]
extensions = ["myst_nb"]
html_theme, html_title = "furo", f"noiseproof {release}"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_execution_raise_on_error = True


def without_links_outside(_app: Any, _name: str, content: list[str]) -> None:
    """Leaves the text of links to files of the repository, which the site does not hold.

    That they lead somewhere on the disk `tests/test_docs.py` checks.
    """
    content[0] = re.sub(r"\[([^\]]+)\]\((?:\.\./)+(?:README|[a-z]+/)[^)]*\)", r"\1", content[0])


def setup(app: Any) -> None:
    """Tells Sphinx what is done to a page as it is read."""
    app.connect("source-read", without_links_outside)
