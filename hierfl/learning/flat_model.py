"""A module whose parameters are one flat vector, and whose gradients are another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hierfl.config.digest import LENGTH, Digest
from hierfl.errors import ConfigError
from hierfl.numerics.layout import Layout

Float32 = npt.NDArray[np.float32]

ORDER, FACTS = "(order of tensors)", "(facts about all data)"

LONGEST_FINGERPRINT = 32768
"""Characters of a fingerprint, which goes with a node's first frame: of a model with more tensors
than fit, no difference can be named."""


class FlatModel:
    """Re-homes a module's trainable parameters and their gradients in two flat vectors.

    The module goes on working as before; its parameters are now views. Frozen parameters stay
    where they are. Tied parameters appear once, under the first of their names.

    Attributes:
        module: the module itself.
        layout: names and shapes of the trainable parameters, in the module's order; d in all.
        weights: float32 [d], the parameters: writing here changes the model.
        gradient: float32 [d], where a backward pass adds; see `zero_gradient`.
        device: where the module computes; `weights` and `gradient` are on the host.
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
        self.device = torch.device("cpu")
        self._there: tuple[torch.Tensor, torch.Tensor] | None = None
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
        _refuse_not_finite(self.layout, self.weights)
        self._buffers = dict(_persistent_buffers(module))
        self.buffer_layout = _layout(self._buffers)

    def to(self, device: torch.device) -> None:
        """Let the module compute on another processor, on copies of `weights` and `gradient`."""
        weights = torch.empty(self.layout.d, device=device)
        gradient = torch.zeros(self.layout.d, device=device)
        self.module.to(device)
        homes = []
        for (parameter, _), place in zip(self._gradients, self.layout.slices, strict=True):
            parameter.data = weights[place].view(parameter.shape)
            parameter.grad = gradient[place].view(parameter.shape)
            homes.append((parameter, parameter.grad))
        self.device, self._there, self._gradients = device, (weights, gradient), homes
        self._buffers = dict(_persistent_buffers(self.module))
        self.enter()

    def enter(self) -> None:
        """To be called before the module is used: it computes with `weights` as they are now."""
        if self._there is not None:
            self._there[0].copy_(torch.from_numpy(self.weights))

    def zero_gradient(self) -> None:
        """To be called before each backward pass, which adds to `gradient` in place."""
        if self._there is None:
            self.gradient.fill(0.0)
        else:
            self._there[1].zero_()

    def gather_gradient(self) -> None:
        """To be called after each backward pass: gradients that a module has moved come back."""
        for parameter, gradient in self._gradients:
            if parameter.grad is not gradient:
                if parameter.grad is not None:
                    gradient.copy_(parameter.grad)
                parameter.grad = gradient
        if self._there is not None:
            torch.from_numpy(self.gradient).copy_(self._there[1])

    def buffers(self) -> Float32:
        """A copy of the persistent buffers as float32 [b]; integers are converted."""
        flat = np.empty(self.buffer_layout.d, np.float32)
        for name, part in self.buffer_layout.views(flat).items():
            part[...] = self._buffers[name].float().cpu().numpy()
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

    def tensors(self) -> dict[str, str]:
        """Return what must be the same at all nodes: each tensor's name -> its nature, in words.

        What is frozen does not travel: its nature ends with a part of its values' SHA-256. A last
        entry, `ORDER`, stands for the order of the tensors.
        """
        found = {}
        for name, parameter in self.module.named_parameters():
            kind = "trained" if parameter.requires_grad else f"frozen, values {_short(parameter)}"
            found[name] = f"{_nature(parameter)}, {kind}"
        for name, buffer in self.module.named_buffers():
            found[name] = f"{_nature(buffer)}, buffer"
        order = hashlib.sha256("\0".join(found).encode()).hexdigest()[:LENGTH]
        return {**found, ORDER: order}

    def fingerprint(self, data: bytes = b"") -> str:
        """Return what must be the same at all nodes as a `Digest`'s text, which `contrast` reads.

        Args:
            data: what else must be the same at all nodes: the facts about all data.
        """
        keys = self.tensors()
        if data:
            keys[FACTS] = hashlib.sha256(data).hexdigest()[:LENGTH]
        text = Digest(keys).to_text()
        if len(text) <= LONGEST_FINGERPRINT:
            return text
        return Digest({"model": hashlib.sha256(text.encode()).hexdigest()}).to_text()


def _refuse_without_values(name: str, tensor: torch.Tensor) -> None:
    if nn.parameter.is_lazy(tensor):
        raise ConfigError(
            "model", f"{name} is lazy: it has no shape before the first batch",
            "Let build() call the model once, on a tensor of zeros of the inputs' shape.",
        )  # fmt: skip
    if tensor.device.type != "cpu":
        raise ConfigError("model", f"{name} is {tensor.dtype} on {tensor.device}; cpu is needed")


def _refuse_not_finite(layout: Layout, weights: Float32) -> None:
    if not np.isfinite(weights).all():
        wrong = next(n for n, part in layout.views(weights).items() if not np.isfinite(part).all())
        raise ConfigError("model", f"the first values of {wrong} are not all finite")


def _layout(tensors: Mapping[str, torch.Tensor]) -> Layout:
    return Layout(tuple(tensors), tuple(tuple(t.shape) for t in tensors.values()))


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _nature(tensor: torch.Tensor) -> str:
    return f"{_dtype(tensor)} {list(tensor.shape)}"


def _short(tensor: torch.Tensor) -> str:
    return hashlib.sha256(_bytes(tensor)).hexdigest()[:LENGTH]


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
