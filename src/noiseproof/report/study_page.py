"""The page of a study: one HTML file from its records, with nothing outside it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from markupsafe import Markup

from noiseproof.files import write_whole
from noiseproof.report import study_figures as figures
from noiseproof.report.page import Panel, provenance_table, template
from noiseproof.report.tables import Table, num_seeds
from noiseproof.results import StudyRecord, mean_interval, read_study

STUDY_PAGE = "study.html"


def write_study_page(folder: Path) -> Path:
    """Writes `study.html` from the records of a study in a folder.

    Raises:
        ValueError: A record is missing or not as it says of itself.
    """
    path = folder / STUDY_PAGE
    write_whole(path, render_study(read_study(folder)))
    return path


def render_study(record: StudyRecord) -> str:
    """The page as HTML."""
    about = record.about
    facts = {
        "task": about.task,
        "rule": about.rule,
        "meta-trained on": about.meta_trained_on,
        "run": f"{about.num_steps:,} inner steps",
        "each optimizer": num_seeds(len(about.axes["seeds"])),
        "images": f"{about.num_images:,} under each condition",
    }
    return template(STUDY_PAGE).render(
        about=about,
        facts=list(facts.items()),
        sections=[(title, list(panels(record))) for title, panels in SECTIONS.items()],
        tables=[accuracy_summary(record), rivals_table(record)],
        provenance=provenance_table(about.provenance),
    )


def panel(
    title: str, caption: str, draw: Callable[..., str], record: StudyRecord, *rest: str
) -> Panel:
    """A figure with its words."""
    return Panel(title, caption, Markup(draw(record, *rest)))


def rule_panels(record: StudyRecord) -> Iterator[Panel]:
    """The rates over the run."""
    if "rates" not in record.arrays:
        return
    num_thetas = len(record.about.axes["thetas"])
    span = f" Bands span the {num_thetas} thetas." if num_thetas > 1 else ""
    groups = {str(name).partition(":")[0] for name in record.about.axes["rates"]}
    for group, words in figures.GROUPS.items():
        if group not in groups:
            continue
        caption = f"Dots are the knots that were learned.{span}"
        yield panel(f"The {words}", caption, figures.rates_figure, record, group)


def behavior_panels(record: StudyRecord) -> Iterator[Panel]:
    """What the optimizer does to weights."""
    n = num_seeds(len(record.about.axes["seeds"]))
    bands = f"Mean and 95% t interval, {n}."

    def relative(record: StudyRecord) -> str:
        return figures.norms_figure(record, relative=True)

    def absolute(record: StudyRecord) -> str:
        return figures.norms_figure(record, relative=False)

    yield panel("Size of a step relative to the weights, by layer", bands, relative, record)
    yield panel("Norm of the weights by layer", bands, absolute, record)
    yield panel(
        "A step as a function of the gradient",
        "The state of a run is frozen after the share of it that stands above, and the gradient of "
        "a batch is multiplied; shown is the step down that gradient, relative to the weights. "
        f"Flat lines clip; at 0 acts what was averaged before. {bands}",
        figures.answers_figure,
        record,
    )
    yield panel(
        "Weights without a gradient",
        f"From the middle of a run on the gradient is zero. Norm of weights, relative. {bands}",
        figures.coasting_figure,
        record,
    )


def response_panels(record: StudyRecord) -> Iterator[Panel]:
    """What the classifiers respond to."""
    about, arrays = record.about, record.arrays
    n = num_seeds(len(about.axes["seeds"]))
    if "filters" in arrays:
        caption = "Of the first classifier of each; gray is zero, each filter in its own units."
        yield panel("First filters", caption, figures.filters_figure, record)
    if "bands" in arrays:
        caption = f"In a cosine basis (DCT-II), mean and 95% t interval, {n}."
        yield panel("Energy of filters by frequency", caption, figures.bands_figure, record)
    yield panel(
        "Errors under single waves",
        f"Error in % on {about.num_images} images to which a wave of norm {about.wave_norm:.2g} a "
        "channel is added, low frequencies in the middle (Yin et al., 2019); one scale for all "
        f"maps, least and greatest value below each, mean of {n}. Then the first map minus the "
        "others; inside the black line, or outside it, the sign changes.",
        figures.fourier_figure,
        record,
    )
    caption = f"Of the loss's gradient in the image. Mean and 95% t interval, {n}."
    yield panel("What a change of the image could use", caption, figures.spectrum_figure, record)
    caption = f"On clean images, mean of {n}. Right of zero the class is right."
    yield panel("Margins", caption, figures.margins_figure, record)
    caption = f"Of clean images; mean and 95% t interval, {n}."
    yield panel("Effective rank of features", caption, figures.ranks_figure, record)


def accuracy_panels(record: StudyRecord) -> Iterator[Panel]:
    """What it comes to."""
    about = record.about
    n = num_seeds(len(about.axes["seeds"]))
    caption = f"Mean over severities; paired 95% t intervals, {n}. Right of zero it is better."
    yield panel("Accuracy by corruption", caption, figures.corruptions_figure, record)
    if any(one.severity for one in about.conditions):
        caption = f"Mean over corruptions, with 95% t interval, {n}."
        yield panel("Accuracy by severity", caption, figures.severities_figure, record)
    lengths = ", ".join(f"{float(length):g}" for length in about.axes["lengths"])
    yield panel(
        "Only cleaner, or more robust at equal clean accuracy?",
        f"Runs of {lengths} of the usual length, joined from the shortest on; corruptions at the "
        f"middle severity; mean of {n}. Above another's line is more robust at equal accuracy.",
        figures.robustness_figure,
        record,
    )


def ablation_panels(record: StudyRecord) -> Iterator[Panel]:
    """What matters in theta."""
    if "ablation" in record.arrays:
        n = num_seeds(len(record.about.axes["seeds"]))
        yield panel(
            "Theta with one group of rates taken back",
            "Accuracy minus that of theta as it is, in points, at the middle severity: left of "
            "zero the group helps beside the others. Paired 95% t intervals, hollow where they "
            f"hold zero, not adjusted for their number; {n}.",
            figures.ablation_figure,
            record,
        )


SECTIONS: dict[str, Callable[[StudyRecord], Iterator[Panel]]] = {
    "": rule_panels,
    "What it does": behavior_panels,
    "What its classifiers respond to": response_panels,
    "What it comes to": accuracy_panels,
    "What matters": ablation_panels,
}


def accuracy_summary(record: StudyRecord) -> Table:
    """Accuracy of all, clean and over corruptions, and the paired difference."""
    accuracy = 100 * record.arrays["accuracy"]
    is_clean = np.array([one.role == "clean" for one in record.about.conditions])
    clean, corrupted = accuracy[:, is_clean].mean(axis=1), accuracy[:, ~is_clean].mean(axis=1)
    lines = []
    for at, entry in enumerate(record.about.optimizers):
        cells = [spread(clean[at]), spread(corrupted[at])]
        lines.append((entry.name, *cells, spread(corrupted[0] - corrupted[at]) if at else "–"))
    header = ("optimizer", "clean", "corrupted", f"{record.about.name} minus it")
    note = "Mean ± half its 95% t interval over seeds; corrupted: mean over all other conditions."
    return Table("Accuracy in %", header, tuple(lines), (note,))


def spread(values: np.ndarray) -> str:
    """A mean and half its interval."""
    interval = mean_interval(values)
    return f"{interval.mean:.1f} ± {(interval.high - interval.low) / 2:.1f}"


def rivals_table(record: StudyRecord) -> Table:
    """How everyone was chosen."""
    lines = tuple(
        (
            entry.name,
            str(entry.trials or "–"),
            ", ".join(f"{knob} {value:.3g}" for knob, value in entry.settings.items()) or "–",
        )
        for entry in record.about.optimizers
    )
    note = "A search of few trials is a weak rival: differences to it say less."
    return Table("Settings", ("optimizer", "trials", "settings"), lines, (note,))
