"""A small share of the fuzzing of all readers, with flat memory; many more by hand.

`python -c "import fuzz_readers as f; [f.check(one) for one in f.inputs(1, 10_000)]"` in this folder
runs as many as there is time for.
"""

import importlib.util
import resource
import sys
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location(
    "fuzz_readers", Path(__file__).with_name("fuzz_readers.py")
)
fuzz_readers = importlib.util.module_from_spec(SPEC)
sys.modules["fuzz_readers"] = fuzz_readers
SPEC.loader.exec_module(fuzz_readers)


def used_kilobytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# A warning of numpy's is an overflow that would go on in silence.
@pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")
def test_readers_take_or_refuse_in_one_line_in_flat_memory():
    kinds = set()
    for one in fuzz_readers.inputs(seed=0, count=200):
        fuzz_readers.check(one)
        kinds.add(one.kind)
    assert kinds == set(fuzz_readers.KINDS)
    before = used_kilobytes()
    for one in fuzz_readers.inputs(seed=1, count=200):
        fuzz_readers.check(one)
    # Files of less than 200 kilobytes, of which one is read at a time.
    assert used_kilobytes() - before < 32_000
