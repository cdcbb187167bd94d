"""From samples as they are kept to batches as a model gets them: standardised, classes numbered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from hierfl.learning.samples import Batch, Samples
from hierfl.protocol.facts import Moments


@dataclass(frozen=True)
class Standard:
    """How inputs are standardised: (x - mean) / std.

    Standardised inputs matter to sign votes: with pixels in [0, 1] a third of an MLP's gradients
    are exactly zero, and a sign says nothing about them.

    Attributes:
        mean: float32, broadcastable to one input, in the inputs' own unit (0 to 255 for bytes).
        std: as `mean`, > 0.
    """

    mean: torch.Tensor
    std: torch.Tensor

    @classmethod
    def of(cls, moments: Moments, shape: tuple[int, ...], dtype: str) -> Standard:
        """Return the one for inputs of this shape and type; constant features become zero."""
        deviation = moments.deviation()
        least = 1.0 if dtype == "uint8" else 0.0
        std = np.where(deviation > least, deviation, 1.0)
        form = (len(deviation),) + (1,) * (len(shape) - 1 if len(shape) > 2 else 0)
        if len(deviation) == 1 and len(shape) < 3:
            form = ()
        mean = torch.tensor(moments.mean, dtype=torch.float64)
        return cls(mean.float().reshape(form), torch.from_numpy(std).float().reshape(form))

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return inputs [k, ...] as standardised float32."""
        return (inputs - self.mean).div_(self.std)


def features(inputs: torch.Tensor) -> npt.NDArray[np.float64]:
    """Return inputs [k, ...] as float64 [n, f], a column for what is standardised together.

    Vectors have a feature at each place, series [steps, f] at each place of a step, images and
    what has more dimensions one for each channel, the first. All of a gray image of bytes
    [height, width] is one.
    """
    values = inputs.to(torch.float64)
    match values.ndim:
        case 1:
            table = values[:, None]
        case 2:
            table = values
        case 3:
            table = values.reshape(-1, 1 if inputs.dtype == torch.uint8 else values.shape[2])
        case _:
            table = values.movedim(1, -1).reshape(-1, values.shape[1])
    return table.numpy()


class Prepared(Samples):
    """Samples whose batches are as the model gets them.

    Args:
        samples: as they are kept.
        standard: of the inputs; None: they are left as they are.
        number: what makes targets of targets; None: they are left as they are.
    """

    def __init__(
        self,
        samples: Samples,
        standard: Standard | None,
        number: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        self.samples = samples
        self.standard = standard
        self.number = number
        self.reads = samples.reads

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.samples)

    def batch(self, where: torch.Tensor | slice) -> Batch:
        """See `Samples.batch`."""
        batch = self.samples.batch(where)
        if isinstance(batch, torch.Tensor):
            return batch if self.standard is None else self.standard(batch)
        if not isinstance(batch, tuple | list):
            return batch
        inputs, *rest = batch
        if self.standard is not None and isinstance(inputs, torch.Tensor):
            inputs = self.standard(inputs)
        if self.number is not None and rest:
            rest[0] = self.number(rest[0])
        return (inputs, *rest)

    def take(self, indices: torch.Tensor) -> Prepared:
        """See `Samples.take`."""
        return Prepared(self.samples.take(indices), self.standard, self.number)
