"""A comparison is the same, save for the order of sums, on one device and on several."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_searches_and_tests_are_the_same_on_all_cores() -> None:
    """Catches runs or images that are lost, filled up wrongly or out of order between devices, and
    devices that wait for each other while classifiers are tested, which can block few cores."""
    script = Path(__file__).with_name("spread_search.py")
    words = [sys.executable, str(script)]
    flags = " ".join(flag for flag in os.environ["XLA_FLAGS"].split() if "device_count" not in flag)
    own = os.environ | {"XLA_FLAGS": flags}
    printed = subprocess.run(words, check=True, capture_output=True, text=True, env=own).stdout
    num_devices, alone, spread, graded = json.loads(printed)
    assert num_devices >= 2
    assert set(alone) == {"outer", "trials", "finals", "losses"}
    assert len(alone["losses"]) == 5
    for name, values in alone.items():
        np.testing.assert_allclose(spread[name], values, rtol=1e-4, err_msg=name)
    assert graded["exchanged"] == [0]
    np.testing.assert_allclose(graded["spread"], graded["whole"], rtol=1e-5)
