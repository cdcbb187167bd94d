"""Bytes are counted where frames are handed over, by child and direction.

*Payload* is what an algorithm or an app sends: the fields of type bytes of a step's frames; in a
Flower message, every value of type bytes in its ConfigRecords and the data of every Array.
*Messages* is all that is handed to gRPC: payload and framing (Flower's records and metadata, and
the link's frame around them).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, fields
from typing import Literal

from hierfl.errors import PayloadError

Direction = Literal["up", "down"]


@dataclass
class Count:
    """What went over one hop in one direction: number of frames, and bytes."""

    frames: int = 0
    payload: int = 0
    messages: int = 0

    def add(self, payload: int, message: int) -> None:
        """Count one frame of `message` bytes that holds `payload` bytes of payload."""
        self.frames += 1
        self.payload += payload
        self.messages += message

    def __add__(self, other: Count) -> Count:
        return Count(
            self.frames + other.frames,
            self.payload + other.payload,
            self.messages + other.messages,
        )


@dataclass
class Ledger:
    """The counts of one parent's hop: for each child, up and down. Any thread may add."""

    counts: dict[str, dict[Direction, Count]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, child: str, direction: Direction, *, payload: int, message: int) -> None:
        """Count one frame between the parent and `child`."""
        with self._lock:
            both = self.counts.get(child)
            if both is None:
                both = self.counts[child] = {"up": Count(), "down": Count()}
            both[direction].add(payload, message)

    def total(self, direction: Direction) -> Count:
        """Return the sum over all children."""
        with self._lock:
            return sum((both[direction] for both in self.counts.values()), Count())

    def traffic(self) -> Traffic:
        """Return the totals over all children."""
        return Traffic(up=self.total("up"), down=self.total("down"))


@dataclass(frozen=True)
class Traffic:
    """What went over all links of a tier, or of one parent, in both directions."""

    up: Count
    down: Count

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.up + other.up, self.down + other.down)

    def to_list(self) -> list[int]:
        """Return the six numbers, to be sent."""
        return [*astuple(self.up), *astuple(self.down)]

    @classmethod
    def from_list(cls, numbers: Sequence[int]) -> Traffic:
        """Undo `to_list`; no numbers mean no traffic.

        Raises:
            PayloadError: if there are not six.
        """
        if not numbers:
            return cls(Count(), Count())
        if len(numbers) != 6:
            raise PayloadError(f"traffic of {len(numbers)} numbers")
        return cls(Count(*numbers[:3]), Count(*numbers[3:]))


@dataclass(frozen=True)
class Faults:
    """What went wrong and was survived, as counts.

    Attributes:
        reconnects: streams that came back after they had broken.
        restarts: nodes that came back as new processes.
        rejected: hellos that were refused, and breaches of the protocol.
        late: replies that came after their step or round had been closed.
        abstained: votes that a device did not cast because its gradient was not finite.
        lost: times that a node's state was lost: it took the whole model in a later round than the
            first, or, the cloud's, the run began again.
    """

    reconnects: int = 0
    restarts: int = 0
    rejected: int = 0
    late: int = 0
    abstained: int = 0
    lost: int = 0

    def __add__(self, other: Faults) -> Faults:
        return Faults(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def to_list(self) -> list[int]:
        """Return the numbers, to be sent."""
        return list(astuple(self))

    @classmethod
    def from_list(cls, numbers: Sequence[int]) -> Faults:
        """Undo `to_list`; no numbers mean no faults.

        Raises:
            PayloadError: if there are more or fewer than there should be.
        """
        if numbers and len(numbers) != len(fields(cls)):
            raise PayloadError(f"faults of {len(numbers)} numbers")
        return cls(*numbers)


NO_FAULTS = Faults()


class FaultCounter:
    """Counts a parent's faults; any thread may add."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, kind: str) -> None:
        """Count one fault of a kind: the name of an attribute of `Faults`."""
        with self._lock:
            self._counts[kind] += 1

    def total(self) -> Faults:
        """Return the counts so far."""
        with self._lock:
            return Faults(**self._counts)
