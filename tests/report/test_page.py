import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from noiseproof.report import write_report
from noiseproof.report.page import write_figure
from noiseproof.results import Record, write_record

WITHOUT_JAX = "import sys; sys.modules['jax'] = sys.modules['optax'] = None; "
VOID = {"meta", "br", "img", "link", "input", "hr"}


def parse(page: str) -> tuple[list[str], list[str], list[str]]:
    """Open tags at the end, ids, and the values of what could point outside."""
    stack: list[str] = []
    ids: list[str] = []
    links: list[str] = []
    parser = HTMLParser()

    def start(tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            stack.append(tag)
        alone(tag, attributes)

    def alone(tag: str, attributes: list[tuple[str, str | None]]) -> None:
        ids.extend(value or "" for name, value in attributes if name == "id")
        links.extend(value or "" for name, value in attributes if name in LINKS)

    def end(tag: str) -> None:
        assert stack.pop() == tag

    parser.handle_starttag, parser.handle_startendtag, parser.handle_endtag = start, alone, end
    parser.feed(page)
    return stack, ids, links


LINKS = {"href", "xlink:href", "src", "srcset", "action", "data", "poster"}


@pytest.fixture(params=["strengths", "severities"], scope="module")
def page(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    make_folder: Callable[..., Path],
) -> str:
    folder = tmp_path_factory.mktemp(request.param)
    make_folder(folder, num_seeds=3, severities=request.param == "severities")
    return write_report(folder).read_text(encoding="utf-8")


@pytest.mark.parametrize("severities", [False, True])
def test_the_figure_is_one_of_the_page(
    tmp_path: Path, make_folder: Callable[..., Path], severities: bool
) -> None:
    """Catches records of severities, which hold no strength, that have no figure."""
    folder = make_folder(tmp_path, num_seeds=3, severities=severities)
    drawn = write_figure(folder, tmp_path / "a.svg").read_text("utf-8")
    words = "difference of accuracy" if severities else "noise"
    assert drawn.startswith("<svg")
    assert words in drawn
    assert drawn.partition(">")[2] in write_report(folder).read_text("utf-8")


def test_page_is_one_well_formed_file_with_nothing_outside(page: str) -> None:
    open_tags, ids, links = parse(page)
    assert open_tags == []
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    assert all(link.startswith("#") for link in links)
    assert not re.search(r"https?:|//[a-z]|@import|<script|<link|<iframe", page)
    assert re.findall(r"url\((?!#)", page) == []


def test_page_fits_a_phone(page: str) -> None:
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    # A figure of fixed width would make the whole page scroll sideways.
    assert re.findall(r"<svg[^>]* (?:width|height)=", page) == []
    assert page.count('<div class="scroll"') == page.count("<table>")


def test_the_page_begins_with_the_claim_two_figures_and_what_tuning_costs(page: str) -> None:
    """Catches a claim beneath tables, and a number that stands in one place alone."""
    claim, strongest, trials, tables = (
        page.index(words)
        for words in (
            '<p class="finding">',
            'aria-label="nominal_mlp minus adamw"',
            'aria-label="What tuning costs"',
            "<table>",
        )
    )
    assert claim < strongest < trials < tables
    said = re.search(r"adamw needs (\d+) trials? on average to reach the outer loss", page)
    assert said is not None
    assert f'data-label="trials until level">{said[1]}</td>' in page
    assert 'data-label="trials until level">not in 16</td>' in page


def test_no_table_is_cut_off(page: str) -> None:
    """Every cell says its column, for screens on which a row is a list; none has more columns
    than a wide one holds: 9 of about 7 rem in 64.
    """
    for table in re.findall(r"<table>(.*?)</table>", page, re.S):
        header = re.findall(r'<th scope="col">([^<]*)</th>', table)
        assert 2 <= len(header) <= 9
        for row in re.findall(r"<tr><th scope=\"row\">.*?</tr>", table, re.S):
            assert re.findall(r'<td data-label="([^"]*)"', row) == header[1:]
    assert re.search(r"@media \(max-width: 60rem\).*thead { display: none; }", page, re.S)


def test_an_older_record_without_trials_has_a_page(
    make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    page = write_report(make_folder(tmp_path, num_seeds=2, trials=False)).read_text("utf-8")
    assert "What tuning costs" not in page
    assert "on average to reach" not in page


def test_samples_show_what_each_classifier_said(
    make_record: Callable[..., Record], add_samples: Callable[[Record], Record], tmp_path: Path
) -> None:
    """Catches answers of another optimizer's column, and answers that are told by color alone."""
    record = add_samples(make_record(num_seeds=3))
    write_record(tmp_path, record)
    page = write_report(tmp_path).read_text(encoding="utf-8")
    title = "A test image of class 3: nominal_mlp is right under 1 of 2"
    assert f'<figure role="img" aria-label="{title}">' in page
    figure = page.partition(title)[2].partition("</svg>")[0]
    assert figure.count("data:image/png;base64,") == 1
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", figure)
    # The learned optimizer's 7 under the second condition, and two runs of sgd that diverged.
    assert sorted(text for text in texts if not text[-1].isalpha() and " " not in text) == [
        "7",
        "–",
        "–",
    ]
    open_tags, ids, _ = parse(page)
    assert open_tags == []
    assert len(ids) == len(set(ids))


def test_page_says_what_was_run_what_came_out_and_what_it_cost(page: str) -> None:
    for words in ("fashion", "mlp", "500 inner steps", "Against adamw", "n = 3 seeds"):
        assert words in page
    for heading in (
        "Accuracy",
        "Learned against rivals",
        "Learning curves",
        "Calibration and cost",
        "Provenance",
    ):
        assert f"<h2>{heading}</h2>" in page
    for words in ("2 min 34 s", "800,000", "2 CPU cores", "0123456789ab", "0.10.2", "batch_size"):
        assert words in page


def test_a_long_fact_has_a_row_of_its_own(
    make_record: Callable[..., Record], tmp_path: Path
) -> None:
    """Or a list of corruptions is a column of words that pushes the figures out of sight."""
    record = make_record()
    long_name = ", ".join(["gaussian_noise"] * 9)
    run = msgspec.structs.replace(record.run, preset=long_name)
    write_record(tmp_path, record._replace(run=run))
    page = write_report(tmp_path).read_text("utf-8")
    assert f'<div class="long"><dt>preset</dt><dd>{long_name}</dd></div>' in page
    assert page.count('<div class="long">') == 1


def test_records_are_escaped(page: str) -> None:
    assert "&lt;b&gt;&amp;" in page
    assert "<b>" not in page


def test_the_same_records_give_the_same_bytes(
    make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_folder(tmp_path, num_seeds=2)
    names = ("report.html", "summary.json")
    write_report(folder)
    first = [(folder / name).read_bytes() for name in names]
    # In another process, where sets and ids have another order.
    code = "import sys, pathlib, noiseproof.report as r; r.write_report(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", WITHOUT_JAX + code, str(folder)], check=True)
    assert [(folder / name).read_bytes() for name in names] == first


def test_report_needs_no_metrics(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    page = write_report(make_folder(tmp_path, num_seeds=2, metrics=False)).read_text("utf-8")
    assert "Meta-training</div>" not in page
    assert "<h2>Learning curves</h2>" in page


def test_diverged_runs_stand_in_the_report(
    make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    page = write_report(make_folder(tmp_path, num_seeds=4, diverged=[0, 3])).read_text("utf-8")
    assert "2 of 4 runs of sgd diverged and count as chance." in page


def test_one_seed_makes_a_report_without_intervals(
    make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    page = write_report(make_folder(tmp_path, num_seeds=1)).read_text("utf-8")
    assert "n = 1 seed" in page
    assert "n = 1 seeds" not in page
    assert not re.search(r"\bnan\b", re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL))


def test_missing_records_are_named(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_folder(tmp_path, num_seeds=2)
    (folder / "run.json").unlink()
    with pytest.raises(ValueError, match=r"must hold run.json and results.npz, run.json is"):
        write_report(folder)
    assert not (folder / "report.html").exists()
