"""What the pages tell a user to run, run; what they say of the package is so.

Every `noiseproof ...` line of a shell block is run in a folder of its own, in which the folder of
a small run, data files and images of one's own stand where the pages have them. Settings of a
small run are laid over those of the line, whose own are checked by themselves. Whole runs are slow
tests, since each compiles programs of its own.
"""

import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
import webbrowser
from pathlib import Path

import numpy as np
import pytest
import typer

from noiseproof import cli
from noiseproof.corruptions.families import FAMILY_OF
from noiseproof.experiment.reading import load_preset, with_settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
ARCHITECTURE, USAGE = ROOT / "docs" / "architecture.md", ROOT / "docs" / "usage.md"
PACKAGE = ROOT / "src" / "noiseproof"

SHORTENED = {"run", "plan", "demo", "train", "evaluate", "study", "distill"}
"""Commands that take `--set`."""

LONG = {"run", "demo", "evaluate", "study", "distill"}
"""Commands that tune rivals and train with all."""

SHORTER = {
    "1000": "30",
    "num_steps=500": "num_steps=100",
    "num_pairs=16": "num_pairs=2",
    "num_outer_steps=300": "num_outer_steps=2",
    "data, key, corr": "data, key, num_seeds=2, num_trials=2, corr",
}
"""What is replaced in Python blocks, so that they take seconds."""

NOT_RUN = {
    "git": "a network",
    "cd": "no program",
    "export": "no program",
    "source": "no program",
    "pip": "a network",
}
"""Programs that a page may name and this file does not run, with what they would need."""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)


def lines(page: Path) -> list[str]:
    """The commands of a page's shell blocks, without comments, continued lines joined."""
    text = "\n".join(blocks(page, "sh")).replace("\\\n", " ")
    return [line for line in text.splitlines() if shlex.split(line, comments=True)]


def commands(*programs: str) -> list[list[str]]:
    """The words of all commands of some programs, on all pages, each once."""
    found = [shlex.split(line, comments=True) for page in PAGES for line in lines(page)]
    unique = {tuple(words) for words in found if Path(words[0]).name in programs}
    return [list(words) for words in sorted(unique)]


def is_long(words: list[str]) -> bool:
    """Whether a command compiles for a minute or so: a whole run, or all corruptions."""
    takes_all = words[1] in ("corrupt", "preview") and "--corruptions" not in words
    return words[1] in LONG or takes_all


@pytest.fixture
def workplace(
    tiny_run: Path, small_data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with all that the pages take for granted."""
    shutil.copytree(tiny_run, tmp_path / "runs" / "demo")
    (tmp_path / "data").symlink_to(small_data_dir)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (240, 8, 8), dtype=np.uint8)
    labels = np.arange(240) % 4
    parts = {"x_train": images[:200], "x_test": images[200:]}
    np.savez(tmp_path / "own.npz", **parts, y_train=labels[:200], y_test=labels[200:])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOISEPROOF_DATA", "data")
    return tmp_path


def no_network(*_: object, **__: object) -> None:
    raise urllib.error.URLError("no network in tests")


@pytest.mark.parametrize("words", commands("noiseproof"), ids=shlex.join)
def test_the_words_of_a_command_are_known(words: list[str]) -> None:
    group = typer.main.get_command(cli.app)
    command = group.commands[words[1]]
    given = command.make_context(words[1], words[2:]).params
    if "preset" in given:
        assert load_preset(given["preset"], given["settings"])
    else:
        assert with_settings({}, given.get("settings", []), "settings")


@pytest.mark.filterwarnings("ignore:.* is not the official file")
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(words, marks=pytest.mark.slow if is_long(words) else ())
        for words in commands("noiseproof")
    ],
    ids=shlex.join,
)
def test_a_command_of_the_pages_runs(
    words: list[str],
    workplace: Path,
    tiny_settings: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    monkeypatch.setattr(webbrowser, "open", lambda _address: True)
    command = words[1]
    if command == "fetch":
        # It needs a network: without one it ends as the page on exit codes says.
        (workplace / "data").unlink()
        assert cli.exit_code(words[1:]) == 1
        complaint = capsys.readouterr().err
        assert complaint.count("\n") == 1
        assert "must be reachable" in complaint
        return
    shorter = list(tiny_settings) if command in SHORTENED else []
    if command == "run" and not words[2].startswith("gaussian"):
        # Only one noise scale is judged at several.
        place = shorter.index(next(one for one in shorter if "strengths" in one))
        del shorter[place - 1 : place + 1]
    assert cli.exit_code([*words[1:], *shorter]) == 0, capsys.readouterr().err
    if "--out" in words:
        assert Path(words[words.index("--out") + 1]).exists()


@pytest.mark.parametrize("words", commands("make"), ids=shlex.join)
def test_a_target_of_the_pages_is_one_of_the_makefile(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for word in words[1:]:
        name, equals, _ = word.partition("=")
        form = rf"^{name} \?=" if equals else rf"^{name}:"
        assert re.search(form, makefile, re.M), word


@pytest.mark.parametrize("words", commands("python", "python3"), ids=shlex.join)
def test_a_script_of_the_pages_is_there(words: list[str]) -> None:
    assert (ROOT / words[1]).is_file()


def test_no_other_program_is_named() -> None:
    known = {"noiseproof", "make", "python", "python3", *NOT_RUN}
    for page in PAGES:
        for line in lines(page):
            assert Path(shlex.split(line)[0]).name in known, (page.name, line)


@pytest.mark.parametrize(
    ("page", "block"),
    [
        # Compiling many corruptions takes half a minute.
        pytest.param(page, block, marks=pytest.mark.slow if "CORRUPTIONS" in block else ())
        for page in PAGES
        for block in blocks(page, "python")
    ],
    ids=lambda value: value.name if isinstance(value, Path) else value.splitlines()[0],
)
def test_a_python_block_runs(page: Path, block: str, workplace: Path) -> None:
    for long, short in SHORTER.items():
        block = block.replace(long, short)
    script = workplace / "block.py"
    script.write_text(block, "utf-8")
    runpy.run_path(str(script))


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose):
            if not target.startswith(("http://", "https://")):
                assert (page.parent / target).exists(), (page.name, target)


def test_every_command_has_a_section_and_a_line() -> None:
    text = USAGE.read_text("utf-8")
    used = {words[1] for words in commands("noiseproof")}
    for info in cli.app.registered_commands:
        name = info.name or info.callback.__name__
        assert name == "fetch" or f"\n## {name}\n" in text, name
        assert name in used, name


def test_a_generated_page_is_that_of_the_code() -> None:
    """Catches a setting, a public name or a theta that changed and whose page did not."""
    pages = runpy.run_path(str(ROOT / "docs" / "write_reference.py"))["PAGES"]
    for page, write in pages.items():
        text = (ROOT / "docs" / "reference" / page).read_text("utf-8")
        assert text == write(), f"{page} is old: python docs/write_reference.py"


@pytest.mark.slow  # whole meta-trainings, though small ones
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cells = blocks(page, r"\{code-cell\} ipython3")
    assert len(cells) > 3
    (tmp_path / "tutorial.py").write_text("\n".join(cells), "utf-8")
    runpy.run_path("tutorial.py")


def test_the_gallery_shows_every_corruption() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "draw_gallery.py"))["page"]()
    assert (ROOT / "docs" / "gallery.md").read_text("utf-8") == page
    assert set(re.findall(r"`(\w+)`", page)) >= set(FAMILY_OF)


def test_the_figure_of_the_readme_shows_its_record() -> None:
    """Catches a figure that was not drawn anew after the record, and a caption that is old."""
    drawing = runpy.run_path(str(ROOT / "docs" / "draw_readme.py"))
    shown = re.findall(r">([\d.]+)</text>", drawing["PICTURE"].read_text("utf-8"))
    means = [f"{mean:.1f}" for means in drawing["by_family"]().values() for mean in means]
    assert set(means) <= set(shown)
    cells = runpy.run_path(str(ROOT / "results" / "bars.py"))["cells_of"]([drawing["RECORD"]])
    strongest = cells.strongest()[0].split()[0]
    assert list(drawing["OPTIMIZERS"]) == ["adam", strongest, cells.learned]
    leads = {family: means[-1] - means[-2] for family, means in drawing["by_family"]().items()}
    ahead = [family for family, lead in leads.items() if lead > 0]
    assert ahead == ["photometric", "weather", "occlusion"]
    assert min(leads.values()) > -0.5
    caption = (
        "ahead of it on photometric changes and weather, within the interval on occlusion, and no"
        " more than half a point off on the others"
    )
    assert caption in (ROOT / "README.md").read_text("utf-8")


def test_the_readme_is_read_in_a_minute() -> None:
    """Catches a front page that grows: its first command, its snippet, its table, its length."""
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 90
    assert text[: text.index("```sh")].count("\n") < 40
    (snippet,) = blocks(ROOT / "README.md", "python")
    assert sum(bool(line.strip()) for line in snippet.splitlines()) <= 15
    assert all(row.count("|") <= 7 for row in re.findall(r"^\|.*$", text, re.M))


NO_RESULTS = {"2019", "1906.03367", "3.11", "95%"}
"""Numbers in the README's prose that are no results: a paper, Python, the level of an interval."""


def test_numbers_in_the_readmes_prose_are_those_of_records() -> None:
    """Catches a number that was copied by hand and is old, and one that no record says."""
    command = [sys.executable, "-X", "utf8", str(ROOT / "results" / "bars.py"), "--prose"]
    printed = subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout
    text = (ROOT / "README.md").read_text("utf-8")
    prose = re.sub(r"^```.*?^```$|^\|.*?$|`[^`]*`", "", text, flags=re.M | re.S)
    prose = " ".join(re.sub(r"\]\([^)]*\)", "]", prose).split())
    for words in printed.splitlines():
        assert words in prose
        prose = prose.replace(words, "", 1)
    # Sizes of images and names such as CIFAR-10 are no results.
    prose = re.sub(r"\d+×\d+|\w+-\d+\S*", "", prose)
    assert set(re.findall(r"\d[\d.,]*\d%?|\d%?", prose)) <= NO_RESULTS


def test_every_file_of_a_run_is_named(tiny_run: Path) -> None:
    named = set(re.findall(r"`([\w.]+)/?`", USAGE.read_text("utf-8")))
    assert {path.name for path in tiny_run.iterdir()} <= named


def test_the_floors_are_those_that_are_checked() -> None:
    with (ROOT / "pyproject.toml").open("rb") as stream:
        contracts = tomllib.load(stream)["tool"]["importlinter"]["contracts"]
    (contract,) = (one for one in contracts if one.get("containers") == ["noiseproof"])
    (drawn,) = blocks(ARCHITECTURE, "text")
    assert drawn.splitlines() == contract["layers"]


def test_every_room_has_a_row_and_every_file_in_it_is_there() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", ARCHITECTURE.read_text("utf-8"), re.M))
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert set(rows) == rooms - {"__init__", "__main__", "__pycache__"}
    for room, row in rows.items():
        for file in re.findall(r"`(\w+\.(?:py|html))`", row):
            # Within its room or within a ring of it.
            assert [*(PACKAGE / room).rglob(file)], (room, file)


@pytest.mark.parametrize(
    ("page", "options"),
    [
        ("README.md", ["--readme"]),
        pytest.param("docs/results.md", [], marks=pytest.mark.slow),  # reads every record
    ],
)
def test_a_table_of_results_is_that_of_its_records(page: str, options: list[str]) -> None:
    # In a process of its own: run-time checks of every call take ten times as long.
    command = [sys.executable, "-X", "utf8", str(ROOT / "results" / "bars.py"), *options]
    printed = subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout
    assert len(printed.splitlines()) > 2
    assert printed in (ROOT / page).read_text("utf-8")


def test_tests_that_a_page_names_are_there() -> None:
    """Catches a table of proofs whose tests were renamed or removed."""
    page = (ROOT / "docs" / "testing.md").read_text("utf-8")
    named = set(re.findall(r"`(?:tests/)?((?:\w+/)?test_\w+\.py)`", page))
    assert len(named) > 20
    assert {name for name in named if not (ROOT / "tests" / name).is_file()} == set()


def test_the_figures_of_the_study_are_those_of_its_record():
    """Catches a figure that is older than the record, or that no browser shows by itself."""
    drawing = runpy.run_path(str(ROOT / "docs" / "draw_study.py"))
    record = drawing["read_study"](drawing["RECORD"])
    drawn = drawing["as_file"](drawing["PICTURES"]["step"](record))
    kept = (ROOT / "docs" / "images" / "study-step.svg").read_text("utf-8")
    # Fonts are those of whoever draws.
    drawn, kept = (re.sub(r"font[^;\"]*;", "", one) for one in (drawn, kept))
    assert drawn == kept
    assert 'xmlns="http://www.w3.org/2000/svg"' in drawn


def test_the_figures_of_families_are_those_of_their_cells():
    """Catches a figure or a sentence that is older than the cells."""
    drawing = runpy.run_path(str(ROOT / "docs" / "draw_families.py"))
    for name, drawn in drawing["pictures"]().items():
        kept = (ROOT / "docs" / "images" / f"families-{name}.svg").read_text("utf-8")
        # Each number is a text of its own, or the line of one.
        assert re.findall(r">\s*([×+-]\d[\d.]+)\s*<", drawn) == re.findall(
            r">\s*([×+-]\d[\d.]+)\s*<", kept
        )
    gains, page = drawing["transfer"](), (ROOT / "docs" / "study.md").read_text("utf-8")
    for row, family in enumerate(gains.columns[:-1]):
        if gains.means[row, row] > gains.halves[row, row]:
            assert f"{family} {gains.means[row, row]:+.1f}" in page


def test_the_grid_is_that_of_its_records():
    """Catches a cell that was judged anew and not written down, or one that was taken out."""
    grid = runpy.run_path(str(ROOT / "research" / "grid.py"))
    page = (ROOT / "docs" / "results.md").read_text("utf-8")
    assert grid["table"](ROOT / "results" / "grid") in page
