"""Samples in memory, standardised a batch at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from hierfl.errors import DataError

_STREAM = 0x76616C69  # keeps these draws apart from all others that use the same seed


@dataclass(frozen=True)
class Split:
    """Inputs and their classes.

    Images stay bytes, a quarter of their size as floats, until a batch needs them. Standardised
    inputs matter to sign votes: with pixels in [0, 1] a third of an MLP's gradients are exactly
    zero, and a sign says nothing about them.

    Attributes:
        inputs: uint8 or float32 [n, ...], usually [n, channels, height, width]; n > 0.
        labels: int64 [n], from 0.
        mean: float32, broadcastable to one input; in the inputs' own unit, 0 to 255 for images.
        std: as `mean`.

    Raises:
        DataError: these do not fit together.
    """

    inputs: torch.Tensor
    labels: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor

    def __post_init__(self) -> None:
        if self.inputs.dtype not in (torch.uint8, torch.float32):
            raise DataError(f"inputs must be uint8 or float32, not {self.inputs.dtype}")
        if self.labels.dtype != torch.int64:
            raise DataError(f"labels must be int64, not {self.labels.dtype}")
        if self.labels.shape != self.inputs.shape[:1] or not len(self.labels):
            counts = f"{tuple(self.inputs.shape)} and {tuple(self.labels.shape)}"
            raise DataError(f"inputs and labels must be as many, and some; their shapes: {counts}")
        if self.labels.min() < 0:
            raise DataError(f"labels must be classes from 0 up; there is {int(self.labels.min())}")

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, where: torch.Tensor | slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Standardised inputs, float32 [k, ...], and labels, int64 [k].

        Args:
            where: int64 [k] indices, or a slice, which needs no copy.
        """
        return (self.inputs[where] - self.mean).div_(self.std), self.labels[where]

    def take(self, indices: torch.Tensor) -> Split:
        """A copy of some samples, so that the memory of the others can be given back."""
        return Split(self.inputs[indices], self.labels[indices], self.mean, self.std)


@dataclass(frozen=True)
class Data:
    """A data set: what to learn from, what to be judged by, and what a model must fit.

    Attributes:
        train: shared out among the devices.
        test: for the cloud; where a validation set is held out, that.
        classes: how many there are.
        shape: of one input, (channels, height, width) for images.
    """

    train: Split
    test: Split
    classes: int
    shape: tuple[int, ...]

    def hold_out(self, share: float, seed: int) -> Data:
        """Return this data with a share of what is to be learnt from as what judges, at random.

        The test set is gone: what chooses by validation cannot look at it.

        Args:
            share: of `train`, above 0 and below 1.
            seed: not negative.

        Raises:
            DataError: if one of the two would be empty.
        """
        total = len(self.train)
        held = round(total * share)
        if not 0 < held < total:
            raise DataError(f"of {total} samples to train, {share:g} cannot be held out")
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, _STREAM])))
        order = generator.permutation(total)
        out, kept = (torch.from_numpy(np.sort(part)) for part in np.split(order, [held]))
        return replace(self, train=self.train.take(kept), test=self.train.take(out))
