"""Where an edge is in the run: each phase holds what is known in it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from edge.journal import Journal
from edge.replica import Replica
from hierfl.errors import CheckpointError
from hierfl.numerics.layout import Layout
from hierfl.protocol.base_sync import BaseSync
from hierfl.protocol.checkpoint import Json
from hierfl.protocol.messages import Base, Report
from hierfl.protocol.snapshot import Snapshot


@dataclass(frozen=True)
class LastRound:
    """What is left of the last round that the edge has run.

    Attributes:
        answered: the cloud's answer to the parts in the round's opening.
        journal: its decisions; None after a restart.
    """

    answered: bytes = b""
    journal: Journal | None = None


@dataclass(frozen=True)
class NoBase:
    """The edge holds no base yet."""

    round: int = 0
    replica: None = None
    last: LastRound = field(default_factory=LastRound)


@dataclass(frozen=True)
class AtBase:
    """The edge holds a round's base; its devices may not.

    Attributes:
        round: the round.
        head: the base as it was sent, without the model and the part for edges.
        replica: holds the base.
        last: what is left of the round before.
        restored: whether it comes from a checkpoint.
    """

    round: int
    head: Base
    replica: Replica
    last: LastRound
    restored: bool = False

    def snapshot(self, run: str, totals: dict[str, Json]) -> Snapshot:
        """Return what the edge must know to redo the round.

        Args:
            run: the run's identifier.
            totals: its counts so far.
        """
        head, replica = self.head, self.replica
        return Snapshot(
            run,
            self.round,
            replica.base,
            replica.state,
            payloads={
                "change": head.change,
                "buffers": head.buffers,
                "answered": self.last.answered,
            },
            facts={"lr": head.lr, "layout": replica.layout.to_json(), **totals},
        )

    @classmethod
    def restore(
        cls,
        kept: Snapshot,
        replica: Replica | None,
        first: Callable[[Layout, int, np.ndarray], Replica],
        journal: Journal | None,
    ) -> AtBase:
        """Return the phase that a snapshot holds.

        Args:
            kept: the snapshot.
            replica: the edge's, which is changed, if it has one.
            first: makes one of a layout, so many bytes of buffers, and a base.
            journal: of the last round that was run.

        Raises:
            CheckpointError: if it is not one of this run; nothing has changed then.
            PayloadError: likewise.
        """
        lr, layout = kept.fact("lr", int), Layout.from_json(kept.fact("layout", str))
        change, buffers, answered = map(kept.payload, ("change", "buffers", "answered"))
        if kept.base.size != layout.d:
            raise CheckpointError(f"it has {kept.base.size} coordinates, not {layout.d}")
        replica = replica or first(layout, len(buffers), kept.base)
        state = kept.state_like(replica.algorithm.edge_state())
        replica.take_whole(layout, kept.base)
        replica.state = state
        head = Base(lr, change, buffers=buffers)
        return cls(kept.round, head, replica, LastRound(answered, journal), restored=True)

    def judged(self, evaluate: bool) -> AtBase:
        """Return the same, with whether devices are to judge: a checkpoint does not say it."""
        return replace(self, head=replace(self.head, evaluate=evaluate))


@dataclass(frozen=True)
class Gathered:
    """The devices are at the round's base, too.

    Attributes:
        at: the round's start.
        sync: has brought the devices there, and brings those that come later.
        part: the devices' parts in the round's opening, made one.
    """

    at: AtBase
    sync: BaseSync
    part: bytes

    @property
    def round(self) -> int:
        """The round."""
        return self.at.round

    @property
    def replica(self) -> Replica:
        """Holds the base."""
        return self.at.replica

    @property
    def last(self) -> LastRound:
        """What is left of the round before."""
        return self.at.last


@dataclass(frozen=True)
class Finished:
    """The edge has finished a round; it holds the base from which the round began.

    Attributes:
        start: the round's start.
        report: the report on the round.
        last: what is left of the round.
    """

    start: Gathered
    report: Report
    last: LastRound

    @property
    def round(self) -> int:
        """The round."""
        return self.start.round

    @property
    def replica(self) -> Replica:
        """Holds the base."""
        return self.start.replica


Phase = NoBase | AtBase | Gathered | Finished
