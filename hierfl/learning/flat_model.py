"""A module whose parameters are one flat vector, and whose gradients are another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hierfl.errors import ConfigError
from hierfl.numerics.layout import Layout

Float32 = npt.NDArray[np.float32]

_BUFFER_TYPES = {
    torch.float16, torch.float32, torch.float64, torch.bool,
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
}  # fmt: skip


class FlatModel:
    """Re-homes a module's trainable parameters and their gradients in two flat vectors.

    The module goes on working as before; its parameters are now views. Frozen parameters stay
    where they are. Tied parameters appear once, under the first of their names.

    Attributes:
        module: the module itself.
        layout: names and shapes of the trainable parameters, in the module's order; d in all.
        weights: float32 [d], the parameters: writing here changes the model.
        gradient: float32 [d], where a backward pass adds; see `zero_gradient`.
        buffer_layout: of the persistent buffers, BatchNorm statistics for one; b in all.

    Raises:
        ConfigError: nothing is trainable, or a parameter or buffer is of an unsupported type.
    """

    def __init__(self, module: nn.Module) -> None:
        parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
        if not parameters:
            raise ConfigError("model", f"{type(module).__name__} has no trainable parameters")
        for name, parameter in parameters.items():
            if parameter.dtype != torch.float32 or parameter.device.type != "cpu":
                kind = f"{parameter.dtype} on {parameter.device}"
                raise ConfigError("model", f"parameter {name} is {kind}; float32 on cpu is needed")
        self.module = module
        self.layout = _layout(parameters)
        self.weights: Float32 = torch.empty(self.layout.d).numpy()
        self.gradient: Float32 = torch.zeros(self.layout.d).numpy()
        weights, gradients = self.layout.views(self.weights), self.layout.views(self.gradient)
        for name, parameter in parameters.items():
            weights[name][...] = parameter.detach().numpy()
            parameter.data = torch.from_numpy(weights[name])
            parameter.grad = torch.from_numpy(gradients[name])
        self._buffers = {name: b.numpy() for name, b in _persistent_buffers(module)}
        self.buffer_layout = _layout(self._buffers)

    def zero_gradient(self) -> None:
        """To be called before each backward pass, which adds to `gradient` in place."""
        self.gradient.fill(0.0)

    def buffers(self) -> Float32:
        """A copy of the persistent buffers as float32 [b]; integers are converted."""
        flat = np.empty(self.buffer_layout.d, np.float32)
        for name, part in self.buffer_layout.views(flat).items():
            part[...] = self._buffers[name]
        return flat

    def set_buffers(self, flat: Float32) -> None:
        """Set the persistent buffers from float32 [b]; those of integers are rounded.

        Raises:
            ValueError: `flat` has another shape.
        """
        for name, part in self.buffer_layout.views(flat).items():
            buffer = self._buffers[name]
            buffer[...] = part if buffer.dtype.kind == "f" else np.rint(part)


def _layout(tensors: Mapping[str, nn.Parameter] | Mapping[str, npt.NDArray[Any]]) -> Layout:
    return Layout(tuple(tensors), tuple(tuple(t.shape) for t in tensors.values()))


def _persistent_buffers(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Buffers that belong to the model's state; caches and masks usually do not."""
    state = module.state_dict()
    for name, buffer in module.named_buffers():
        if name not in state:
            continue
        if buffer.dtype not in _BUFFER_TYPES or buffer.device.type != "cpu":
            raise ConfigError("model", f"buffer {name} is {buffer.dtype} on {buffer.device}")
        yield name, buffer
