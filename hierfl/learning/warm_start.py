"""A warm start: the first base out of a file, in place of the seed's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from hierfl.errors import ConfigError
from hierfl.learning.flat_model import FlatModel

KEY = "start_from"
"""The key that names the file."""


def start_from(model: FlatModel, path: Path) -> None:
    """Set a model's parameters and buffers from a file as runs leave it, `model.safetensors`.

    Args:
        model: whose tensors the file must hold, by name, in these shapes, and no others.
        path: of a safetensors file; any type of float and integer becomes float32.

    Raises:
        ConfigError: if it cannot be read, or does not fit the model. The model is then as it was.
    """
    tensors = _read(path)
    weights, buffers = np.empty_like(model.weights), model.buffers()
    parts = model.layout.views(weights) | model.buffer_layout.views(buffers)
    if strangers := [*(parts.keys() - tensors.keys()), *(tensors.keys() - parts.keys())]:
        name = min(strangers)
        said = f"no tensor {name}" if name in parts else f"a tensor {name}, which the model has not"
        raise ConfigError(KEY, f"{path} has {said}", _HINT)
    for name, part in parts.items():
        tensor = tensors[name]
        if tensor.shape != part.shape:
            raise ConfigError(
                KEY, f"{path} holds {name} of shape {tensor.shape}, not {part.shape}", _HINT
            )
        part[...] = tensor
        if not np.isfinite(part).all():
            raise ConfigError(KEY, f"{path} holds a {name} that is not finite")
    model.weights[:] = weights
    model.set_buffers(buffers)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        tensors: dict[str, np.ndarray] = load(path.read_bytes())
    except OSError as error:
        reason = f"{path} cannot be read: {error.strerror}"
        raise ConfigError(KEY, reason, "Only the cloud's machine needs it.") from error
    except (SafetensorError, TypeError) as error:  # TypeError: of bfloat16, for one
        raise ConfigError(KEY, f"{path} is no safetensors file for NumPy: {error}") from error
    return tensors


_HINT = "It must be of the model that `model` names; `hierfl validate` shows that one."
