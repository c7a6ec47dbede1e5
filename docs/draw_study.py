"""Draws the figures of the page on what was learned, from the committed record of a study.

python docs/draw_study.py
"""

from pathlib import Path

from noiseproof.report import study_figures as figures
from noiseproof.results import read_study

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "results" / "study-spectral-fashion-mlp"
PICTURES = {
    "step": lambda record: figures.rates_figure(record, "step"),
    "bands": lambda record: figures.rates_figure(record, "bands"),
    "fourier": figures.fourier_figure,
    "filters": figures.filters_figure,
    "ablation": figures.ablation_figure,
}


NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
"""A page needs none around its figures; a file of its own does."""


def as_file(figure: str) -> str:
    """A figure of a page as a file of its own."""
    return figure.replace("<svg", f"<svg {NAMESPACES}", 1)


def main() -> None:
    """Draws the pictures."""
    record = read_study(RECORD)
    for name, draw in PICTURES.items():
        path = ROOT / "docs" / "images" / f"study-{name}.svg"
        path.write_text(as_file(draw(record)), "utf-8")


if __name__ == "__main__":
    main()
