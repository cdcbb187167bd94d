"""Models with parameters and buffers of every kind, for 64 inputs and 10 classes."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parametrizations


def plain() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def batchnorm() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10)
    )


def rows(shape: tuple[int, ...], classes: int) -> nn.Module:
    return nn.Sequential(nn.Linear(shape[0], 8), nn.BatchNorm1d(8), nn.Linear(8, classes))


def spectral() -> nn.Module:
    hidden = parametrizations.spectral_norm(nn.Linear(64, 16))
    return nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), nn.Linear(16, 10))


def frozen() -> nn.Module:
    model = batchnorm()
    model[1].requires_grad_(False)
    return model


class FrozenHalf(nn.Module):
    """A frozen part in half precision, below a head in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.back = nn.Linear(64, 16).to(torch.bfloat16).requires_grad_(False)
        self.head = nn.Linear(16, 10)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.back(inputs.flatten(1).bfloat16()).float())


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(64, 10, bias=False), nn.Linear(64, 10, bias=False)
        self.other.weight = self.one.weight

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.one(inputs.flatten(1)) + self.other(inputs.flatten(1))


class Scalar(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scale = nn.Linear(64, 10), nn.Parameter(torch.tensor(1.0))
        self.spare, self.empty = nn.Linear(64, 3), nn.Parameter(torch.zeros(0))
        self.to(memory_format=torch.channels_last)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layer(inputs.flatten(1)) * self.scale


class Buffers(nn.Module):
    """A buffer of bfloat16, one of truth values, one that is no state."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)
        self.register_buffer("short", torch.full((3,), 1.5, dtype=torch.bfloat16))
        self.register_buffer("mask", torch.tensor([True, False]))
        self.register_buffer("cache", torch.zeros(4), persistent=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layer(inputs.flatten(1))


class MovesGradients(nn.Module):
    """Sets its gradients to None within the forward pass, out of an optimizer's habit."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.zero_grad(set_to_none=True)
        return self.layer(inputs.flatten(1))


def lazy() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))


def parallel() -> nn.Module:
    return nn.DataParallel(plain())


TRAINABLE = (
    plain, batchnorm, spectral, frozen, FrozenHalf, Tied, Scalar, Buffers, MovesGradients, lazy,
    parallel,
)  # fmt: skip


def double() -> nn.Module:
    return plain().double()


def half() -> nn.Module:
    model = batchnorm()
    model[1].half()
    return model


def meta() -> nn.Module:
    with torch.device("meta"):
        return plain()


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)
        self.register_buffer("phase", torch.ones(3, dtype=torch.complex64))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layer(inputs.flatten(1))


class TwoOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.layer(inputs.flatten(1)), inputs


class NoAttribute(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layer(inputs.flatten(1).to(self.nowhere))


REFUSED = {
    double: r"1\.weight is torch\.float64",
    half: r"1\.weight is torch\.float16",
    meta: "device meta",
    Complex: r"buffer phase is torch\.complex64",
    TwoOutputs: r"outputs of shape \(2, 10\), not tuple",
    NoAttribute: r"nets\.py",
}
