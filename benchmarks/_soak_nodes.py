"""A run's processes as the kernel sees them: who lives, and how much memory and files each has."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

SETTLED_S = 60.0
"""Seconds after which a process is to have all the memory that it needs."""


class Node(NamedTuple):
    """One process, which is one life of a node."""

    role: str
    name: str
    pid: int


def living(out: Path) -> list[Node]:
    """Return the nodes of the run in `out`, which are told by their command lines."""
    config, found = str(out / "config.yaml"), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it has ended meanwhile
                words = (entry / "cmdline").read_bytes().decode().strip("\0").split(" ")
                match words:
                    case ["hierfl", role, file, "--name", name, *_] if file == config:
                        found.append(Node(role, name, int(entry.name)))
    return found


@contextmanager
def handle(node: Node) -> Iterator[int | None]:
    """Hold on to a process, so that no signal reaches another one; None if it is gone."""
    try:
        descriptor = os.pidfd_open(node.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def send(descriptor: int, number: signal.Signals) -> bool:
    """Send a signal; return whether the process was still there."""
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    return True


class Sample(NamedTuple):
    """What a process has at an age, in seconds: resident memory in MB, and open files."""

    age: float
    memory: float
    files: int


def sample(node: Node) -> Sample | None:
    """Return what a process has now; None if it has ended."""
    place = Path(f"/proc/{node.pid}")
    try:
        stat, status = (place / "stat").read_text(), (place / "status").read_text()
        files = len(list((place / "fd").iterdir()))
    except OSError:
        return None
    started = int(stat.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - started
    memory = next((line for line in status.splitlines() if line.startswith("VmRSS:")), None)
    return Sample(age, int(memory.split()[1]) / 1024, files) if memory else None


@dataclass
class Life:
    """What a process had, second by second, in each calm that it saw.

    Attributes:
        calms: the samples by the number of the calm.
    """

    calms: dict[int, list[Sample]] = field(default_factory=dict)

    def add(self, calm: int, what: Sample) -> None:
        """Add a sample."""
        self.calms.setdefault(calm, []).append(what)

    def memory(self) -> list[float]:
        """Return MB in each calm after the first minute."""
        return [
            statistics.median(what.memory for what in samples)
            for samples in self.calms.values()
            if samples[0].age >= SETTLED_S
        ]

    def files(self) -> list[int]:
        """Return the open files in each calm, without those that were open for a moment."""
        return [min(what.files for what in samples) for samples in self.calms.values()]
