"""How an experiment says how far it is: by callbacks, from Python as from a console."""

from collections.abc import Callable
from typing import NamedTuple

from noiseproof.results import MetricsLine


class Progress(NamedTuple):
    """What an experiment calls as it goes on; by default nothing happens.

    Attributes:
        say: `(line)`, what begins or was found.
        part: `(name, done, total)`, how many runs of a search or of the final evaluation are done;
            `done` is 0 as the part begins.
        outer_step: `(metrics, num_outer_steps)`, after every outer step of meta-training.
        should_stop: Whether meta-training is to write a checkpoint and end.
    """

    say: Callable[[str], None] = lambda _line: None
    part: Callable[[str, int, int], None] = lambda _name, _done, _total: None
    outer_step: Callable[[MetricsLine, int], None] = lambda _line, _num_steps: None
    should_stop: Callable[[], bool] = lambda: False


SILENT = Progress()
"""Says nothing and never stops."""
