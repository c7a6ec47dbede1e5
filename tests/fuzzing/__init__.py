"""Inputs that are damaged, odd or hostile, and what must hold of each; see `tests/fuzz.py`."""
