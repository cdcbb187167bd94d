"""How good a base is where the data are: sums of a task's metrics, added up on their way up.

Above an edge go the sums of its cluster and the worst device's figure, without its name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from hierfl.errors import PayloadError

Float64 = npt.NDArray[np.float64]

LONGEST = 1 << 20
"""Bytes of one device's sums, or a cluster's."""

_WORST = "\0worst"  # no name of a sum


@dataclass(frozen=True)
class Evaluated:
    """What one device, or a cluster, found.

    Attributes:
        sums: of each metric over all samples, float64 of any shape; "examples" among them.
        worst: the worst device's value of `evaluate.metric`; not finite where that diverged.
    """

    sums: Mapping[str, Float64]
    worst: float

    def to_bytes(self) -> bytes:
        """Return it as safetensors, floats exactly.

        Raises:
            PayloadError: it is too long.
        """
        arrays = {name: np.asarray(value, np.float64) for name, value in self.sums.items()}
        data = save({_WORST: np.array(self.worst), **arrays})
        if len(data) > LONGEST:
            raise PayloadError(f"metrics of {len(data)} bytes, of {LONGEST} at most")
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Evaluated:
        """Undo `to_bytes`.

        Raises:
            PayloadError: if these are no such sums.
        """
        if len(data) > LONGEST:
            raise PayloadError(f"metrics of {len(data)} bytes, of {LONGEST} at most")
        try:
            sums = dict(sorted(load(data).items()))
        except (SafetensorError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise PayloadError(f"metrics that are malformed: {str(error)[:200]}") from None
        if any(array.dtype != np.float64 for array in sums.values()):
            raise PayloadError("metrics that are no float64")
        worst, examples = sums.pop(_WORST, None), sums.get("examples")
        if worst is None or worst.shape or examples is None or examples.shape:
            raise PayloadError("metrics that do not say of how many examples they are")
        if not (math.isfinite(examples) and examples > 0):
            raise PayloadError(f"metrics of {examples} examples")
        return cls(sums, float(worst))

    @property
    def is_finite(self) -> bool:
        """Whether all sums are finite numbers."""
        return all(bool(np.isfinite(array).all()) for array in self.sums.values())

    def is_like(self, other: Evaluated) -> bool:
        """Return whether these are sums of the same metrics."""
        return {n: a.shape for n, a in self.sums.items()} == {
            n: a.shape for n, a in other.sums.items()
        }


def merge(found: Mapping[str, Evaluated], sign: int) -> tuple[Evaluated, str] | None:
    """Return the sums of several, and whose figure is the worst; None of none.

    Sums are added in the order of `found`; those of other metrics than the first's are left out.

    Args:
        found: by name of a child.
        sign: 1 where more of the metric is better, else -1.
    """
    if not found:
        return None
    first = next(iter(found.values()))
    alike = {name: one for name, one in found.items() if one.is_like(first)}
    sums = {name: np.zeros_like(value) for name, value in first.sums.items()}
    for one in alike.values():
        for name, value in one.sums.items():
            sums[name] += value
    worst = min(alike, key=lambda n: (alike[n].is_finite, _goodness(alike[n].worst, sign)))
    return Evaluated(sums, alike[worst].worst), worst


def _goodness(value: float, sign: int) -> float:
    return sign * value if math.isfinite(value) else -math.inf
