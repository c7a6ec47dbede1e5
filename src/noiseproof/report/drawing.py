"""What all figures of a report share: looks, legends, margins, and SVG to be set into a page.

Text stays text and takes the page's color, lines are told apart by color (Okabe and Ito's palette
for all kinds of color vision), marker and dash. The same records give the same bytes.
"""

import io
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

WIDTH = 4.8
"""Inches, 346 points: about the width of a phone, so that there letters keep their size."""

INK = "#123456"
"""Stands for the page's text color while a figure is drawn."""

LEARNED_COLOR = "#d55e00"
INITIAL_COLOR = "#7f7f7f"
RIVAL_COLORS = ("#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#b3a000")
MARKERS = "s^DvP<>"
DASHES = (
    (0, (5, 1.5)),
    (0, (4, 1, 1, 1)),
    (0, (2.5, 1)),
    (0, (6, 2, 1, 2, 1, 2)),
    (0, (8, 2)),
)


class Style(NamedTuple):
    """How an optimizer is drawn.

    Attributes:
        color: Hexadecimal.
        marker: Matplotlib's letter.
        dash: Matplotlib's dash pattern.
        width: Of the line, in points.
    """

    color: str
    marker: str
    dash: Any
    width: float


SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name may hold a dollar sign
    "svg.hashsalt": "noiseproof",  # else ids of markers are drawn anew in each process
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
}


def styles(kinds: Mapping[str, str]) -> dict[str, Style]:
    """One style per optimizer, from its kind.

    Learned ones are thick, solid and in a color of their own; thetas before meta-training faint.
    """
    fixed = {
        "learned": Style(LEARNED_COLOR, "o", "solid", 2.6),
        "initial": Style(INITIAL_COLOR, "x", (0, (1, 1)), 1.4),
    }
    others = [name for name, kind in kinds.items() if kind not in fixed]
    return {
        name: fixed[kind] if kind in fixed else _rival_style(others.index(name))
        for name, kind in kinds.items()
    }


def _rival_style(place: int) -> Style:
    color = RIVAL_COLORS[place % len(RIVAL_COLORS)]
    # Counts of colors, markers and dashes differ, so that a repeated color looks different.
    return Style(color, MARKERS[place % len(MARKERS)], DASHES[place % len(DASHES)], 1.4)


def line(axes: Axes, x: ArrayLike, y: ArrayLike, look: Style, name: str, *, marked: bool) -> None:
    """The line of one optimizer."""
    axes.plot(
        x,
        y,
        color=look.color,
        linestyle=look.dash,
        linewidth=look.width,
        marker=look.marker if marked else "",
        markersize=5,
        label=label(name),
        zorder=2 + look.width,  # the learned one, thick, lies on top
    )


LETTER, LINE = 0.075, 0.18
"""Inches that a letter of a label and a line of the legend take."""

TITLE_LETTER = 0.065
"""Inches of a letter of the title of small axes."""

MOST_LETTERS = 40
"""A longer name is cut in figures; in tables it is whole."""

LONGEST_OF_THREE = 18
"""Letters of a name, of which three stand beside each other in a legend."""


def label(name: str) -> str:
    """A name in a legend, which leaves out what begins with an underscore."""
    return cut(f" {name}" if name.startswith("_") else name)


def cut(name: str) -> str:
    """A name, cut where it is long."""
    return name if len(name) <= MOST_LETTERS else name[: MOST_LETTERS - 1] + "…"


def legend(axes: Axes) -> None:
    """The names of all lines, above the axes."""
    names = [str(name) for name in axes.get_legend_handles_labels()[1]]
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        ncols=_columns(names),
        fontsize=8.5,
        columnspacing=1.2,
        borderaxespad=0.2,
    )


def _columns(names: Sequence[str]) -> int:
    """How many names of a legend stand beside each other."""
    longest = max(map(len, names), default=0)
    if longest > 2 * LONGEST_OF_THREE:
        return 1
    return 3 if longest <= LONGEST_OF_THREE else 2


def draw(
    name: str,
    drawing: Callable[[Axes], None],
    *,
    height: float = 2.4,
    left: float = 0.8,
    right: float = 0.1,
) -> str:
    """Draw on fresh axes and return SVG whose ids are unique to `name`.

    Margins are computed, since the drawing library's own search for them takes most of the time.

    Args:
        name: Of the figure.
        drawing: Draws on the axes.
        height: Of the axes, in inches; the legend comes on top.
        left: Left margin, in inches.
        right: Right margin, in inches.
    """

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        drawing(axes)
        names = [str(label) for label in axes.get_legend_handles_labels()[1]]
        top = 0.15 + LINE * math.ceil(len(names) / _columns(names))
        bottom = 0.5
        total = bottom + height + top
        figure.set_size_inches(WIDTH, total)
        axes.set_position(
            (left / WIDTH, bottom / total, (WIDTH - left - right) / WIDTH, height / total)
        )

    return rendered(name, paint)


class Grid(NamedTuple):
    """Margins of small axes beside and above each other, in inches.

    Attributes:
        num_columns: Axes in a row.
        height: Of each.
        left: To the first column.
        between: From one column to the next.
        below: From one row to the next, for its labels and the next one's title.
        right: Behind the last column.
    """

    num_columns: int = 2
    height: float = 1.3
    left: float = 0.6
    between: float = 0.5
    below: float = 0.65
    right: float = 0.1


TWO_COLUMNS = Grid()


def draw_grid(
    name: str,
    titles: Sequence[str],
    drawing: Callable[[Axes, int], None],
    grid: Grid = TWO_COLUMNS,
) -> str:
    """Draw on several axes, each under its title, with the legend of the first on top.

    Args:
        name: Of the figure.
        titles: Of the axes, row by row.
        drawing: `(axes, place)`, draws on one of them.
        grid: How they are laid out.
    """

    def paint(figure: Figure) -> None:
        num_rows = math.ceil(len(titles) / grid.num_columns)
        space = WIDTH - grid.left - grid.right - (grid.num_columns - 1) * grid.between
        width = space / grid.num_columns
        everyone = [figure.add_subplot() for _ in titles]
        for place, (axes, title) in enumerate(zip(everyone, titles, strict=True)):
            drawing(axes, place)
            most = max(int(width / TITLE_LETTER), 4)
            title = title if len(title) <= most else title[: most - 1] + "…"
            axes.set_title(title, fontsize=8.5, loc="left", pad=3)
            axes.tick_params(labelsize=8)
        handles, names = everyone[0].get_legend_handles_labels()
        num_lines = math.ceil(len(names) / _columns(list(map(str, names))))
        top = 0.3 + LINE * num_lines
        total = top + num_rows * grid.height + (num_rows - 1) * grid.below + 0.5
        figure.set_size_inches(WIDTH, total)
        for place, axes in enumerate(everyone):
            row, column = divmod(place, grid.num_columns)
            x = grid.left + column * (width + grid.between)
            y = total - top - grid.height - row * (grid.height + grid.below)
            axes.set_position((x / WIDTH, y / total, width / WIDTH, grid.height / total))
        if names:
            figure.legend(
                handles,
                names,
                loc="upper left",
                bbox_to_anchor=(0.0, 1.0),
                ncols=_columns(list(map(str, names))),
                fontsize=8.5,
                columnspacing=1.2,
                borderaxespad=0.2,
            )

    return rendered(name, paint)


def rendered(name: str, paint: Callable[[Figure], None]) -> str:
    """A figure as SVG whose ids are unique to `name`.

    Args:
        name: Of the figure.
        paint: Fills the figure and sets its size.
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)
        figure = Figure()
        FigureCanvasSVG(figure)
        paint(figure)
        text = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        with warnings.catch_warnings():
            # A name may hold letters that only the reader's own font has.
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            figure.savefig(text, format="svg", metadata=nothing, transparent=True)
    return _inline(text.getvalue(), name)


def _inline(svg: str, name: str) -> str:
    """What an SVG file says that a page does not need or may not hold, taken out."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    # The reader's own font, whose long list of names most texts would repeat.
    svg = re.sub(r"('[\w ]+', )+sans-serif", "sans-serif", svg)
    # The page gives the width, the view box the shape.
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'( id="|href="#|url\(#)', rf"\1{name}-", svg)
    return svg.replace(INK, "currentColor")
