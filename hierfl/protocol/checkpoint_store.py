"""Where a node keeps its state: a folder for each run that it takes part in, STATE/RUN.

No run touches another's folder: a run can be gone on with later, whatever the node has done
meanwhile. What a node holds of a finished run is removed when it takes part in another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from hierfl.errors import CheckpointError, PayloadError
from hierfl.protocol.checkpoint import Json
from hierfl.protocol.checkpoint_files import Checkpoints

_RUN = re.compile(r"[A-Za-z0-9_-]{1,64}")


class CheckpointStore:
    """What a node keeps of all runs that it has taken part in.

    Args:
        folder: the state folder; nodes of other names may use it as well.
        name: the node's name.
        config: what all nodes of a run must agree on; it goes into every file.
    """

    def __init__(self, folder: Path, name: str, config: Mapping[str, Json] | None = None) -> None:
        self._folder = folder
        self._name = name
        self._config = config

    def run(self, run: str) -> Checkpoints:
        """Return the node's checkpoints of a run.

        Raises:
            PayloadError: if that is no run's identifier.
        """
        if not _RUN.fullmatch(run):
            raise PayloadError(f"{run!r:.80} as a run's identifier")
        return Checkpoints(self._folder / run, self._name, run, self._config)

    def runs(self) -> list[str]:
        """Return the runs of which the node has files, whole or not, the last one first."""
        found = [run for run in self._entries() if self.run(run).rounds()]
        return sorted(found, key=lambda run: (-self.run(run).written(), run))

    def current(self) -> str | None:
        """Return the last run of which a checkpoint is whole, or None."""
        return next((run for run in self.runs() if self.run(run).whole()), None)

    def enter(self, run: str) -> Checkpoints:
        """Return the node's checkpoints of a run in which it takes part now.

        Those of other runs that are finished are removed; any other stays.

        Raises:
            PayloadError: if that is no run's identifier.
        """
        entered = self.run(run)
        entered.unfinish()
        for other in self._entries():
            if other != run:
                with suppress(CheckpointError):  # they are in nobody's way
                    self.run(other).remove_finished()
        return entered

    def _entries(self) -> list[str]:
        try:
            return sorted(
                entry.name for entry in self._folder.iterdir() if _RUN.fullmatch(entry.name)
            )
        except OSError:
            return []
