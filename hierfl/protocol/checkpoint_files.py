"""One node's checkpoints of one run on disk, so that what is cut off can be redone.

A file, NAME.ROUND.state, is written beside, checksummed, fsynced, renamed. The last two are kept:
while one is being written the other one is whole, and a node can go back by one round when its
parent or one of its children has to.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from hierfl.errors import CheckpointError, HierflError
from hierfl.process.patience import patiently
from hierfl.protocol.checkpoint import Checkpoint, Json, from_bytes, to_bytes

log = logging.getLogger(__name__)

KEPT = 2


class Checkpoints:
    """The checkpoints of one node in one run.

    Args:
        folder: where they are; made when the first one is written.
        name: the node's name.
        run: the run's identifier; files of another are of no use. None: whichever.
        config: goes into every file; see `Checkpoint`.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        run: str | None = None,
        config: Mapping[str, Json] | None = None,
    ) -> None:
        self._folder = folder
        self._name = name
        self._run = run
        self._config = config or {}

    def write(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and drop all but the last two.

        Raises:
            CheckpointError: if that fails; the ones before it are as they were.
        """
        data = to_bytes(replace(checkpoint, config=self._config))
        path = self._path(checkpoint.round)
        try:
            patiently(lambda: self._write(data, path), f"write {path}")
        except OSError as error:
            raise CheckpointError(
                f"cannot write {path}: {error.strerror}",
                "Make room or mend the folder and start again: the last good checkpoint is kept.",
            ) from error
        self._remove(
            self._path(round_)
            for round_ in self.rounds()
            if round_ > checkpoint.round or round_ <= checkpoint.round - KEPT
        )

    def _write(self, data: bytes, path: Path) -> None:
        beside = self._beside
        try:
            make_private(self._folder)
            beside.unlink(missing_ok=True)
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
            beside.rename(path)
            handle = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError:
            with suppress(OSError):
                beside.unlink(missing_ok=True)  # what is half written would keep a full disk full
            raise

    def read(self, round_: int) -> Checkpoint | None:
        """Return the checkpoint of a round, or None if there is no whole one.

        A damaged one is reported in the log and left where it is.
        """
        found: list[Checkpoint] = []
        self.restore(round_, found.append)
        return found[0] if found else None

    def last(self) -> Checkpoint | None:
        """Return the last checkpoint that is whole, or None."""
        found: list[Checkpoint] = []
        self.restore_last(found.append)
        return found[0] if found else None

    def restore_last(self, restore: Callable[[Checkpoint], None]) -> bool:
        """Go to the last checkpoint that can be used; return whether there is one."""
        return any(self.restore(round_, restore) for round_ in reversed(self.rounds()))

    def restore(self, round_: int, restore: Callable[[Checkpoint], None]) -> bool:
        """Go to a round's start; return whether its checkpoint could be used.

        Args:
            round_: the round.
            restore: takes the checkpoint, or raises HierflError and leaves all as it was.
        """
        try:
            restore(self._load(round_))
        except FileNotFoundError:
            return False
        except (OSError, HierflError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            log.error("%s is of no use: %s", self._path(round_), why)
            return False
        return True

    def whole(self) -> list[int]:
        """Return the rounds of which the checkpoints are whole; nothing is logged."""
        found = []
        for round_ in self.rounds():
            with suppress(OSError, CheckpointError):
                found.append(self._load(round_).round)
        return found

    def _load(self, round_: int) -> Checkpoint:
        checkpoint = from_bytes(_bytes_of(self._path(round_)))
        if checkpoint.round != round_:
            raise CheckpointError(f"it is of round {checkpoint.round}")
        if self._run not in (None, checkpoint.run):
            raise CheckpointError("it is of another run")
        return checkpoint

    def rounds(self) -> list[int]:
        """Return the rounds of which there are checkpoints, whole or not, in order."""
        pattern = re.compile(re.escape(self._name) + r"\.([0-9]{1,18})\.state")
        try:
            names = [entry.name for entry in self._folder.iterdir()]
        except OSError:
            return []
        return sorted(int(match[1]) for name in names if (match := pattern.fullmatch(name)))

    def written(self) -> float:
        """Return when the last one was written, in seconds since 1970; 0 if there is none."""
        times = [0.0]
        for path in map(self._path, self.rounds()):
            with suppress(OSError):
                times.append(path.stat().st_mtime)
        return max(times)

    def finish(self) -> None:
        """Note that the run is over: what is here is needed no more."""
        with suppress(OSError):  # then it stays for longer
            if self.rounds():
                self._finished.touch(mode=0o600)

    def unfinish(self) -> None:
        """Note that the run goes on after all."""
        with suppress(OSError):
            self._finished.unlink(missing_ok=True)

    def remove_finished(self) -> None:
        """Remove them all, if their run is finished.

        Raises:
            CheckpointError: if that fails.
        """
        if self._finished.exists():
            self._remove([*map(self._path, self.rounds()), self._beside, self._finished])
            with suppress(OSError):  # another node's are in it
                self._folder.rmdir()

    def set_aside(self) -> None:
        """Rename them all, to NAME.ROUND.damaged: they are kept, and not looked at any more.

        Raises:
            CheckpointError: if that fails.
        """
        for path in map(self._path, self.rounds()):
            try:
                path.rename(path.with_suffix(".damaged"))
            except OSError as error:
                raise CheckpointError(f"cannot rename {path}: {error.strerror}") from error

    def _remove(self, paths: Iterable[Path]) -> None:
        for path in paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise CheckpointError(f"cannot remove {path}: {error.strerror}") from error

    @property
    def _finished(self) -> Path:
        return self._folder / f"{self._name}.finished"

    @property
    def _beside(self) -> Path:
        """Where a checkpoint is written; what was cut off there is overwritten by the next."""
        return self._folder / f"{self._name}.part"

    def _path(self, round_: int) -> Path:
        return self._folder / f"{self._name}.{round_}.state"


def make_private(folder: Path) -> None:
    """Make a folder, unless it is there, that only its owner can look into.

    Raises:
        OSError: if it cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if not folder.is_dir():
        raise NotADirectoryError(20, "Not a directory", str(folder))


def _bytes_of(path: Path) -> bytes:
    """Return a regular file's bytes; anything else, a pipe for one, is not waited for."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise CheckpointError("it is no regular file")
        return file.read()
