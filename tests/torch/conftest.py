"""One thread for PyTorch: on small tensors others only wait, and many tests run at once."""

import importlib.util

if importlib.util.find_spec("torch"):
    import torch

    torch.set_num_threads(1)
