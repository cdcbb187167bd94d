"""What the cloud knows at a round's start: one checkpoint holds all of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cloud.result import RoundResult
from hierfl.algorithms.base import Algorithm, State
from hierfl.algorithms.schedule import to_bits
from hierfl.link.traffic import NO_FAULTS, Faults, Traffic
from hierfl.numerics.layout import Layout
from hierfl.protocol.checkpoint import Checkpoint, Json
from hierfl.protocol.messages import Base
from hierfl.protocol.vectors import to_bytes


@dataclass
class CloudState:
    """The global model, and what led to it.

    Attributes:
        base: the current base, float32[d], which all nodes hold in the same bits.
        buffers: the model's current buffers, float32[b].
        residual: what the downlink's codec has left out so far, float32[d].
        algorithm: the cloud's state in the algorithm.
        change: the downlink's payload that led to the base; empty at the first base.
        edges: what the algorithm tells edges alone with it.
        answer: the cloud's contribution to the opening of the round before.
        last: the result of the round before.
        round: the round that begins with this base.
        traffic: between cloud and edges, before this process began.
        faults: survived before this process began.
    """

    base: np.ndarray
    buffers: np.ndarray
    residual: np.ndarray
    algorithm: State
    change: bytes = b""
    edges: bytes = b""
    answer: bytes = b""
    last: RoundResult | None = None
    round: int = 1
    traffic: Traffic = field(default_factory=lambda: Traffic.from_list([]))
    faults: Faults = field(default_factory=Faults)

    @classmethod
    def first(
        cls,
        algorithm: Algorithm,
        base: np.ndarray,
        buffers: np.ndarray,
        faults: Faults = NO_FAULTS,
    ) -> CloudState:
        """Return the state at a run's beginning."""
        residual = np.zeros(algorithm.layout.d, np.float32)
        return cls(base.copy(), buffers, residual, algorithm.cloud_state(), faults=faults)

    def next_base(self, lr: np.float32) -> Base:
        """Return the base as a change of the one before; see `whole` for a first one."""
        return Base(
            to_bits(lr), change=self.change, buffers=to_bytes(self.buffers), edges=self.edges
        )

    def whole(self, lr: np.float32, layout: Layout) -> Base:
        """Return the same base with the whole model."""
        return Base(
            to_bits(lr),
            model=to_bytes(self.base),
            layout=layout.to_json(),
            buffers=to_bytes(self.buffers),
            edges=self.edges,
        )

    def pack(self, run: str, traffic: Traffic, faults: Faults) -> Checkpoint:
        """Return it as a checkpoint.

        Args:
            run: the run's identifier.
            traffic: between cloud and edges so far, in this process too.
            faults: survived so far, likewise.
        """
        arrays = {
            "base": self.base,
            "buffers": self.buffers,
            "residual": self.residual,
            "change": np.frombuffer(self.change, np.uint8),
            "edges": np.frombuffer(self.edges, np.uint8),
            "answer": np.frombuffer(self.answer, np.uint8),
        }
        arrays |= {f"state.{name}": array for name, array in self.algorithm.items()}
        facts: dict[str, Json] = {
            "last": self.last.to_json() if self.last else None,
            "traffic": list(traffic.to_list()),
            "faults": list(faults.to_list()),
        }
        return Checkpoint(run, self.round, arrays, facts)

    @classmethod
    def unpack(cls, kept: Checkpoint, algorithm: Algorithm) -> CloudState:
        """Undo `pack`, in a process that takes over.

        Raises:
            CheckpointError: if the checkpoint is not one of such a run.
            PayloadError: likewise.
        """
        flat = (algorithm.layout.d,)
        return cls(
            base=kept.array("base", np.float32, flat),
            buffers=kept.array("buffers", np.float32),
            residual=kept.array("residual", np.float32, flat),
            algorithm=kept.arrays_like("state", algorithm.cloud_state()),
            change=kept.array("change", np.uint8).tobytes(),
            edges=kept.array("edges", np.uint8).tobytes(),
            answer=kept.array("answer", np.uint8).tobytes(),
            last=RoundResult.from_json(kept.fact("last", dict)) if kept.round > 1 else None,
            round=kept.round,
            traffic=Traffic.from_list(kept.counts("traffic")),
            faults=Faults.from_list(kept.counts("faults")) + Faults(restarts=1),
        )
