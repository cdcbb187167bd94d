"""A node's state at a round's start, as its checkpoint holds it: packed and unpacked here alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hierfl.protocol.checkpoint import Checkpoint, Checkpoints, Json

_ALGORITHM, _PAYLOAD = "state.", "payload."


@dataclass(frozen=True)
class Snapshot:
    """What a node must know to redo a round.

    Attributes:
        run: the run's identifier.
        round: the round that is about to begin.
        base: float32[d].
        state: the role's state in the algorithm.
        arrays: other arrays, by name.
        payloads: bytes, by name.
        facts: whatever else, as JSON.
    """

    run: str
    round: int
    base: np.ndarray
    state: Mapping[str, np.ndarray]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    payloads: Mapping[str, bytes] = field(default_factory=dict)
    facts: Mapping[str, Json] = field(default_factory=dict)

    def pack(self) -> Checkpoint:
        """Return it as a checkpoint; arrays are not copied."""
        arrays = {"base": self.base, **self.arrays}
        arrays |= {_ALGORITHM + name: array for name, array in self.state.items()}
        arrays |= {
            _PAYLOAD + name: np.frombuffer(data, np.uint8) for name, data in self.payloads.items()
        }
        return Checkpoint(self.run, self.round, arrays, self.facts)

    @classmethod
    def unpack(cls, kept: Checkpoint) -> Snapshot:
        """Undo `pack`; all arrays are the snapshot's own."""
        arrays = dict(kept.arrays)
        base = arrays.pop("base").copy()
        state, payloads = _take(arrays, _ALGORITHM), _take(arrays, _PAYLOAD)
        return cls(
            kept.run,
            kept.round,
            base,
            {name: array.copy() for name, array in state.items()},
            {name: array.copy() for name, array in arrays.items()},
            {name: array.tobytes() for name, array in payloads.items()},
            kept.facts,
        )


class Snapshots:
    """The snapshots of one node in the run that it takes part in.

    Args:
        checkpoints: where they are kept; None: nowhere.
    """

    def __init__(self, checkpoints: Checkpoints | None) -> None:
        self.run = ""
        self._checkpoints = checkpoints

    def join(self, run: str) -> Snapshot | None:
        """Take part in a run; return its last snapshot, if there is one and it was not known."""
        if run == self.run or self._checkpoints is None:
            return None
        self.run = run
        last = self._checkpoints.last()
        if last is not None and last.run == run:
            return Snapshot.unpack(last)
        self._checkpoints.clear()
        return None

    def keep(self, snapshot: Snapshot) -> None:
        """Keep a snapshot.

        Raises:
            CheckpointError: if it cannot be written.
        """
        if self._checkpoints is not None:
            self._checkpoints.write(snapshot.pack())

    def at(self, round_: int) -> Snapshot | None:
        """Return the run's snapshot of a round's start, if there is one."""
        kept = self._checkpoints.read(round_) if self._checkpoints is not None else None
        return Snapshot.unpack(kept) if kept is not None and kept.run == self.run else None


def _take(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Remove those whose names have a prefix; return them without it."""
    names = [name for name in arrays if name.startswith(prefix)]
    return {name.removeprefix(prefix): arrays.pop(name) for name in names}
