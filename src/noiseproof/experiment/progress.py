"""How an experiment says how far it is: by callbacks, from Python as from a console."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from noiseproof.results import MetricsLine


@contextmanager
def never_stopping() -> Iterator[Callable[[], bool]]:
    """Meta-training goes on to its end."""
    yield lambda: False


class Progress(NamedTuple):
    """What an experiment calls as it goes on; by default nothing happens.

    Attributes:
        say: `(line)`, what begins or was found.
        part: `(name, unit, done, total)`, how much of a part is done, such as runs of a search;
            `done` is 0 as it begins.
        outer_step: `(metrics, num_outer_steps)`, after every outer step of meta-training.
        stopping: Entered for each meta-training, gives `() -> whether it is to end`, which is asked
            after every outer step, before a checkpoint.
    """

    say: Callable[[str], None] = lambda _line: None
    part: Callable[[str, str, int, int], None] = lambda _name, _unit, _done, _total: None
    outer_step: Callable[[MetricsLine, int], None] = lambda _line, _num_steps: None
    stopping: Callable[[], AbstractContextManager[Callable[[], bool]]] = never_stopping


def corrupting(progress: Progress) -> Callable[[int, int], None]:
    """What a suite tells of the conditions whose images are made, from none on."""
    name = "corrupting the test images"
    progress.say(name)
    progress.part(name, "conditions", 0, 1)
    return lambda done, total: progress.part(name, "conditions", done, total)


SILENT = Progress()
"""Says nothing and never stops."""
