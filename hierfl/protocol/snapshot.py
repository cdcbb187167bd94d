"""A node's state at a round's start, as its checkpoint holds it: packed and unpacked here alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from hierfl.errors import CheckpointError
from hierfl.protocol.checkpoint import (
    Checkpoint,
    Json,
    checked_array,
    checked_counts,
    checked_fact,
    checked_like,
)
from hierfl.protocol.checkpoint_files import Checkpoints
from hierfl.protocol.checkpoint_store import CheckpointStore

_ALGORITHM, _PAYLOAD = "state.", "payload."

T = TypeVar("T")


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
        """Undo `pack`; all arrays are the snapshot's own.

        Raises:
            CheckpointError: if that is no snapshot.
        """
        base, arrays = kept.array("base", np.float32), dict(kept.arrays)
        del arrays["base"]
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

    def array(self, name: str, size: int) -> np.ndarray:
        """Return one of `arrays`, float32[size].

        Raises:
            CheckpointError: if there is none such.
        """
        return checked_array(self.arrays.get(name), name, np.float32, (size,))

    def state_like(self, like: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the state; each array is of the dtype, and has as many axes, as that of `like`.

        Raises:
            CheckpointError: if one is absent or differs.
        """
        return checked_like(self.state, like)

    def payload(self, name: str) -> bytes:
        """Return one of `payloads`.

        Raises:
            CheckpointError: if there is none such.
        """
        if name not in self.payloads:
            raise CheckpointError(f"it has no payload {name!r}")
        return self.payloads[name]

    def fact(self, name: str, kind: type[T]) -> T:
        """Return one of `facts`; see `Checkpoint.fact`."""
        return checked_fact(self.facts, name, kind)

    def counts(self, name: str) -> list[int]:
        """Return one of `facts` that is a list of integers; see `Checkpoint.counts`."""
        return checked_counts(self.facts, name)


class Snapshots:
    """The snapshots of one node in the run that it takes part in.

    Args:
        store: where they are kept; None: nowhere.
    """

    def __init__(self, store: CheckpointStore | None) -> None:
        self.run = ""
        self._store = store
        self._files: Checkpoints | None = None

    def join(self, run: str, restore: Callable[[Snapshot], None]) -> None:
        """Take part in a run, from its last snapshot, if there is one and it was not known.

        Args:
            run: its identifier.
            restore: takes a snapshot, or raises HierflError and leaves all as it was: then the one
                before is tried.

        Raises:
            PayloadError: if that is no run's identifier.
        """
        if run == self.run or self._store is None:
            return
        self.run = run
        self._files = self._store.enter(run)
        self._files.restore_last(lambda kept: restore(Snapshot.unpack(kept)))

    def keep(self, snapshot: Snapshot) -> None:
        """Keep a snapshot.

        Raises:
            CheckpointError: if it cannot be written.
        """
        if self._files is not None:
            self._files.write(snapshot.pack())

    def go_back(self, round_: int, restore: Callable[[Snapshot], None]) -> bool:
        """Go back to a round's start; return whether its snapshot could be used. See `join`."""
        return self._files is not None and self._files.restore(
            round_, lambda kept: restore(Snapshot.unpack(kept))
        )

    def finish(self) -> None:
        """The run is over: what was kept of it is needed no more."""
        if self._files is not None:
            self._files.finish()


def _take(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Remove those whose names have a prefix; return them without it."""
    names = [name for name in arrays if name.startswith(prefix)]
    return {name.removeprefix(prefix): arrays.pop(name) for name in names}
