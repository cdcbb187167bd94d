"""The mean of the devices' buffers: the statistics that a model's layers keep."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hierfl.protocol.vectors import F32, as_finite, from_bytes, to_bytes

NONE = np.empty(0, np.float32)


class BufferMean:
    """Collects the buffers of one round.

    Args:
        before: the base's buffers, little-endian float32[b].
    """

    def __init__(self, before: bytes) -> None:
        self._before = np.frombuffer(before, F32)
        self._given: dict[int, np.ndarray] = {}

    def check(self, data: bytes, expected: bool) -> np.ndarray:
        """Return buffers, float32[b], or none where none are expected.

        Raises:
            PayloadError: if there are more or fewer.
        """
        size = self._before.size if expected else 0
        return from_bytes(data, size) if data or size else NONE  # at every ballot but the last

    def add(self, position: int, buffers: np.ndarray) -> bool:
        """Take a device's buffers; return whether they are finite wherever they were before."""
        if not as_finite(buffers, self._before):
            return False
        self._given[position] = buffers
        return True

    def mean(self, examples: Sequence[int]) -> bytes:
        """Return the mean, weighted by samples, added in the devices' order.

        Args:
            examples: how many samples each device holds, by position.
        """
        total = sum(examples[position] for position in self._given)
        if not total:
            return to_bytes(self._before)
        mean = np.zeros_like(self._before)
        for position, buffers in sorted(self._given.items()):
            mean += np.float32(examples[position] / total) * buffers
        return to_bytes(mean)
