"""The register of testbeds: one file each, so that the next start can remove what was left behind.

A launcher holds a lock on its file while it runs. The kernel releases the lock when the launcher
ends, for whatever reason, so a file without a lock belongs to a launcher that is dead.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.launcher.namespace import NAMESPACES
from hierfl.errors import HierflError

FOLDER = Path("/run/hierfl/testbeds")


@dataclass(frozen=True)
class Record:
    """The record of a testbed, written before any part of it is created.

    Attributes:
        run: the run folder.
        switch: the namespace of the bridges.
        namespaces: the namespaces of all nodes.
        cuts: node -> the port at the switch that connects it to its parent.
    """

    run: str
    switch: str
    namespaces: list[str]
    cuts: dict[str, str]

    def remove(self) -> None:
        """Kill all processes in the namespaces, and remove the namespaces."""
        names = [name for name in (*self.namespaces, self.switch) if (NAMESPACES / name).exists()]
        for pid in inside(names):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for name in names:
            subprocess.run(
                ["ip", "netns", "delete", name], stderr=subprocess.DEVNULL, start_new_session=True
            )


def inside(namespaces: list[str]) -> Iterator[int]:
    """Yield the processes in these namespaces."""
    inodes = {f"net:[{(NAMESPACES / name).stat().st_ino}]" for name in namespaces}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if os.readlink(entry / "ns" / "net") in inodes:
                    yield int(entry.name)


@contextmanager
def kept(record: Record) -> Iterator[None]:
    """Keep a record of a testbed; on exit, remove the testbed and the record.

    Raises:
        HierflError: if the file cannot be written.
    """
    file = FOLDER / f"{os.getpid()}.json"
    beside = file.with_suffix(".part")
    try:
        handle = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        fcntl.flock(handle, fcntl.LOCK_EX)
        os.write(handle, json.dumps(asdict(record)).encode())
        beside.rename(file)  # with its lock
    except OSError as error:
        raise HierflError(f"cannot write {file}: {error.strerror}") from error
    try:
        yield
    finally:
        record.remove()
        file.unlink(missing_ok=True)
        os.close(handle)


def sweep() -> None:
    """Remove the testbeds of launchers that are dead.

    Raises:
        HierflError: if the records cannot be read or written.
    """
    try:
        FOLDER.mkdir(parents=True, exist_ok=True, mode=0o755)
        for file in FOLDER.glob("*.json"):
            with _opened(file) as handle, suppress(BlockingIOError, FileNotFoundError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _read(handle).remove()
                file.unlink()
    except OSError as error:
        raise HierflError(f"cannot read or write {FOLDER}: {error.strerror}") from error


def running() -> list[Record]:
    """Return the testbeds whose launcher is running."""
    found = []
    for file in sorted(FOLDER.glob("*.json")):
        with suppress(FileNotFoundError), _opened(file) as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                found.append(_read(handle))
    return found


@contextmanager
def _opened(file: Path) -> Iterator[int]:
    handle = os.open(file, os.O_RDWR)
    try:
        yield handle
    finally:
        os.close(handle)


def _read(handle: int) -> Record:
    return Record(**json.loads(os.pread(handle, 1 << 24, 0)))
