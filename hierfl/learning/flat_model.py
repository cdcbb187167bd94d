"""A module whose parameters are one flat vector, and whose gradients are another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hierfl.errors import ConfigError
from hierfl.numerics.layout import Layout

Float32 = npt.NDArray[np.float32]


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
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            _refuse_without_values(name, tensor)
        parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
        if not parameters:
            raise ConfigError("model", f"{type(module).__name__} has no trainable parameters")
        for name, parameter in parameters.items():
            if parameter.dtype != torch.float32 or parameter.device.type != "cpu":
                kind = f"{parameter.dtype} on {parameter.device}"
                raise ConfigError(
                    "model", f"parameter {name} is {kind}; float32 on cpu is needed",
                    "Frozen parameters (requires_grad_(False)) may be of any type.",
                )  # fmt: skip
        self.module = module
        self.layout = _layout(parameters)
        self.weights: Float32 = torch.empty(self.layout.d).numpy()
        self.gradient: Float32 = torch.zeros(self.layout.d).numpy()
        weights, gradients = self.layout.views(self.weights), self.layout.views(self.gradient)
        self._gradients: list[tuple[nn.Parameter, torch.Tensor]] = []
        for name, parameter in parameters.items():
            weights[name][...] = parameter.detach().numpy()
            parameter.data = torch.from_numpy(weights[name])
            parameter.grad = torch.from_numpy(gradients[name])
            self._gradients.append((parameter, parameter.grad))
        self._buffers = dict(_persistent_buffers(module))
        self.buffer_layout = _layout(self._buffers)

    def zero_gradient(self) -> None:
        """To be called before each backward pass, which adds to `gradient` in place."""
        self.gradient.fill(0.0)

    def gather_gradient(self) -> None:
        """To be called after each backward pass: gradients that a module has moved come back."""
        for parameter, gradient in self._gradients:
            if parameter.grad is not gradient:
                if parameter.grad is not None:
                    gradient.copy_(parameter.grad)
                parameter.grad = gradient

    def buffers(self) -> Float32:
        """A copy of the persistent buffers as float32 [b]; integers are converted."""
        flat = np.empty(self.buffer_layout.d, np.float32)
        for name, part in self.buffer_layout.views(flat).items():
            part[...] = self._buffers[name].float().numpy()
        return flat

    def set_buffers(self, flat: Float32) -> None:
        """Set the persistent buffers from float32 [b]; those of integers are rounded.

        Raises:
            ValueError: `flat` has another shape.
        """
        for name, part in self.buffer_layout.views(flat).items():
            buffer = self._buffers[name]
            value = torch.from_numpy(part)
            buffer.data.copy_(value if buffer.is_floating_point() else value.round())

    def signature(self) -> str:
        """Return what must be the same at all nodes, as JSON: each tensor's name and nature.

        A row is [kind, name, dtype, shape], kind being trained, frozen or buffer; a frozen
        parameter's row ends with the SHA-256 of its values, which do not travel.
        """
        rows: list[list[Any]] = []
        for name, parameter in self.module.named_parameters():
            row = [name, _dtype(parameter), list(parameter.shape)]
            if parameter.requires_grad:
                rows.append(["trained", *row])
            else:
                rows.append(["frozen", *row, hashlib.sha256(_bytes(parameter)).hexdigest()])
        for name, buffer in self.module.named_buffers():
            rows.append(["buffer", name, _dtype(buffer), list(buffer.shape)])
        return json.dumps(rows, separators=(",", ":"))

    def fingerprint(self, data: bytes = b"") -> str:
        """Return the SHA-256 of the signature, in hexadecimal.

        Args:
            data: what else must be the same at all nodes, such as the data's facts.
        """
        return hashlib.sha256(self.signature().encode() + data).hexdigest()


def difference(here: str, there: str) -> str:
    """Return in words in what the models of two signatures differ; or "".

    >>> one = '[["trained","a","float32",[2]]]'
    >>> difference(one, one), difference(one, '[["trained","a","float32",[3]]]')
    ('', 'a is float32 [2], trained here and float32 [3], trained there')
    """
    ones, others = ({row[1]: row for row in json.loads(text)} for text in (here, there))
    for name in {**ones, **others}:
        one, other = ones.get(name), others.get(name)
        if one != other:
            if one is None or other is None:
                return f"{name} is {'here' if one else 'there'} alone"
            if one[:4] == other[:4]:
                return f"{name}, which is frozen, has other values"
            said = [f"{row[2]} {row[3]}, {row[0]}" for row in (one, other)]
            return f"{name} is {said[0]} here and {said[1]} there"
    return "" if list(ones) == list(others) else "the same tensors stand in another order"


def _refuse_without_values(name: str, tensor: torch.Tensor) -> None:
    if nn.parameter.is_lazy(tensor):
        raise ConfigError(
            "model", f"{name} is lazy: it has no shape before the first batch",
            "Let build() call the model once, on a tensor of zeros of the inputs' shape.",
        )  # fmt: skip
    if tensor.device.type != "cpu":
        raise ConfigError("model", f"{name} is {tensor.dtype} on {tensor.device}; cpu is needed")


def _layout(tensors: Mapping[str, torch.Tensor]) -> Layout:
    return Layout(tuple(tensors), tuple(tuple(t.shape) for t in tensors.values()))


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _bytes(tensor: torch.Tensor) -> bytes:
    """Return a tensor's values in C order, whatever its type."""
    plain = tensor.detach().cpu().contiguous().reshape(-1)
    return plain.view(torch.uint8).numpy().tobytes()


def _persistent_buffers(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Buffers that belong to the model's state; caches and masks usually do not."""
    state = module.state_dict()
    for name, buffer in module.named_buffers():
        if name not in state:
            continue
        if buffer.is_complex() or buffer.is_quantized:
            raise ConfigError("model", f"buffer {name} is {buffer.dtype}, which cannot be averaged")
        yield name, buffer
