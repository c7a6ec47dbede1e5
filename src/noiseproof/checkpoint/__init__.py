"""What outlives a process: meta-training states, and published learned optimizers.

Both are written beside their name and put in place when they are whole on the disk; both carry
checksums that are compared before anything is used; nothing is pickled.
"""

from noiseproof.checkpoint.state import load_state, save_state
from noiseproof.checkpoint.theta import load_theta, save_theta

__all__ = ["load_state", "load_theta", "save_state", "save_theta"]
