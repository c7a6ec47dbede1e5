"""A small share of `tests/fuzz.py`: every kind of input, then some of all kinds in flat memory."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))

import fuzz


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("kind", fuzz.MAKERS)
def test_odd_inputs_are_taken_or_refused_in_one_line(kind):
    """Catches tracebacks, long messages and values out of range, by the kind of input."""
    for number in range(fuzz.WARM):
        fuzz.check(kind, np.random.default_rng(number))


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_memory_stays_flat():
    """Catches a reader that believes a header, or keeps what it read."""
    before = fuzz.used_kilobytes()
    fuzz.run(seed=1, num=500, report=lambda number, error: pytest.fail(f"{number}: {error!r}"))
    assert fuzz.used_kilobytes() - before < fuzz.MOST_GROWTH
