"""One torch thread per process: nodes share a machine, and sums keep their order."""

from __future__ import annotations

import os


def one_thread() -> None:
    """To be called before anything else imports torch, whose thread pools are made once."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("MKL_NUM_THREADS", "1")
    import torch

    torch.set_num_threads(1)


def threads() -> int:
    """Return how many threads torch uses for one operation."""
    import torch

    return torch.get_num_threads()
