"""Where torch computes: the processor that `device` names, and what is moved and keyed there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils import _pytree as pytree

from hierfl.config import Config
from hierfl.errors import ConfigError


def processor(config: Config, name: str) -> torch.device:
    """Return where a node computes.

    Raises:
        ConfigError: this machine has no such processor.
    """
    wanted, have = config.processor_of(name), torch.cuda.device_count()
    if wanted == "auto":
        wanted = "cuda" if have else "cpu"
    device = torch.device(wanted)
    if device.type == "cuda" and (device.index or 0) >= have:
        said = f"{have} GPUs" if have else f"none: torch {torch.__version__} sees no GPU"
        raise ConfigError(
            "device", f"{name} is to compute on {wanted}, and this machine has {said}",
            "device: auto takes a GPU where there is one.",
        )  # fmt: skip
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(
            "device", f"{name} is to compute on mps, and torch {torch.__version__} sees none here",
            "It is the GPU of Apple's machines; device: auto takes a GPU where there is one.",
        )  # fmt: skip
    return device


def moved(batch: Any, device: torch.device) -> Any:
    """Return a batch, any tree, with its tensors on a processor."""
    if device.type == "cpu":
        return batch
    leaves, spec = pytree.tree_flatten(batch)
    there = [leaf.to(device) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
    return pytree.tree_unflatten(there, spec)


@contextmanager
def keyed(seed: int, device: torch.device) -> Iterator[None]:
    """Let what is drawn on a GPU depend on a seed alone; its state is left as it was."""
    if device.type == "cpu":
        yield
        return
    if device.type == "mps":
        state = torch.mps.get_rng_state()
        torch.mps.manual_seed(seed)
        try:
            yield
        finally:
            torch.mps.set_rng_state(state)
        return
    with torch.random.fork_rng([device]):
        torch.cuda.manual_seed_all(seed)
        yield
