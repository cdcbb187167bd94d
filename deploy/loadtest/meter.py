"""What a process of the load test notes of itself: lines of JSON in a file of its own."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from hierfl.link.link_grid import LinkGrid
from hierfl.link.step_run import StepRun
from hierfl.link.steps import StepRound
from hierfl.process.periodic import Periodic

EVERY_S, PSS_EVERY = 0.5, 10
"""Seconds between two samples, and how many there are for each that holds the share of memory."""

Mark = tuple[float, float]
"""A time on the monotonic clock, which all processes of a machine share, and the processor time
that the process has used so far, s."""


def now() -> Mark:
    """Return this moment."""
    return time.monotonic(), time.process_time()


def resident() -> int:
    """Return the bytes of memory that this process uses."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def proportional() -> int:
    """Return the bytes of memory that this process uses; what n processes share counts 1/n."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


class Meter:
    """While entered, notes this process's use of the machine, and what else it is told.

    Args:
        file: lines are added to it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file.open("a", buffering=1)
        self._samples = 0
        self._sampling = Periodic(self.sample, EVERY_S, "meter")

    def __enter__(self) -> Self:
        self.sample()
        self._sampling.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._sampling.__exit__(*error)
        self.sample()
        self._file.close()

    def note(self, **facts: Any) -> None:
        """Add a line, with the time."""
        self._file.write(json.dumps({"at": time.monotonic(), **facts}) + "\n")

    def sample(self) -> None:
        """Note processor time, memory and descriptors; now and then also the share of memory.

        That counts what processes share once, and takes the kernel a while.
        """
        share = {} if self._samples % PSS_EVERY else {"pss": proportional()}
        self._samples += 1
        self.note(
            cpu=time.process_time(),
            rss=resident(),
            open=len(os.listdir("/proc/self/fd")),
            **share,
        )


class StepClock:
    """Notes when each step of a grid begins and ends.

    Args:
        grid: whose `steps` is replaced by one that notes.
        on_step: called in the event loop at the end of each step, with the round's steps so far.

    Attributes:
        marks: of the last round: its start, and the end of each of its steps.
    """

    def __init__(
        self, grid: LinkGrid, on_step: Callable[[StepRound, int], None] = lambda round_, step: None
    ) -> None:
        self.marks: list[Mark] = []
        self._steps = grid.steps
        self._on_step = on_step
        grid.steps = self.steps  # type: ignore[method-assign]

    def steps(self, round_: StepRound, timeout: float) -> StepRun:
        """See `BaseGrid.steps`."""
        self.marks, close = [now()], round_.close

        def timed_close() -> bool:
            more = close()
            self.marks.append(now())
            self._on_step(round_, len(self.marks) - 1)
            return more

        round_.close = timed_close  # type: ignore[method-assign]
        return self._steps(round_, timeout)
