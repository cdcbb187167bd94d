"""An edge's counts over the whole run, across restarts."""

from __future__ import annotations

from hierfl.link.base_grid import BaseGrid
from hierfl.link.traffic import Faults, Traffic
from hierfl.protocol.checkpoint import Json
from hierfl.protocol.snapshot import Snapshot


class Totals:
    """What went over the devices' links, and what went wrong there.

    Args:
        grid: counts for this process.
    """

    def __init__(self, grid: BaseGrid) -> None:
        self._grid = grid
        self._traffic = Traffic.from_list([])
        self._faults = Faults()

    def traffic(self) -> Traffic:
        """Return the traffic so far."""
        return self._traffic + self._grid.ledger.traffic()

    def faults(self) -> Faults:
        """Return the faults so far."""
        return self._faults + self._grid.faults()

    def add(self, faults: Faults) -> None:
        """Count faults of which the grid knows nothing."""
        self._faults += faults

    def facts(self) -> dict[str, Json]:
        """Return the counts for a snapshot."""
        return {"traffic": [*self.traffic().to_list()], "faults": [*self.faults().to_list()]}

    @staticmethod
    def read(kept: Snapshot) -> tuple[Traffic, Faults]:
        """Return the counts of a snapshot.

        Raises:
            CheckpointError: if it has none.
            PayloadError: likewise.
        """
        return Traffic.from_list(kept.counts("traffic")), Faults.from_list(kept.counts("faults"))

    def restore(self, traffic: Traffic, faults: Faults) -> None:
        """Continue from these counts."""
        self._traffic, self._faults = traffic, faults
