"""A node's state as of a round's start, on disk, so that whatever is cut off can be redone.

Each round's state is a file of its own, NAME.ROUND.state: written beside, checksummed, fsynced,
renamed. The last two are kept: while one is being written the other one is whole, and a node can
go back by one round when its parent or one of its children has to.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from hierfl.errors import CheckpointError

log = logging.getLogger(__name__)

_MAGIC = b"hierfl checkpoint 1\n"
_DIGEST = hashlib.sha256().digest_size
KEPT = 2

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True)
class Checkpoint:
    """What a node must know to redo a round.

    Attributes:
        run: the run's identifier.
        round: the round that is about to begin.
        arrays: by name.
        facts: whatever else, as JSON.
    """

    run: str
    round: int
    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Json]


class Checkpoints:
    """The checkpoints of one node.

    Args:
        folder: where they are; made when the first one is written.
        name: the node's name.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name

    def write(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and drop all but the last two.

        Raises:
            CheckpointError: if that fails; the ones before it are as they were.
        """
        data = to_bytes(checkpoint)
        path, beside = self._path(checkpoint.round), self._beside
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.rename(path)
            handle = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            with suppress(OSError):
                beside.unlink(missing_ok=True)  # what is half written would keep a full disk full
            raise CheckpointError(
                f"cannot write {path}: {error.strerror}",
                "Make room or mend the folder and start again: the last good checkpoint is kept.",
            ) from error
        self._remove(
            self._path(round_)
            for round_ in self.rounds()
            if round_ > checkpoint.round or round_ <= checkpoint.round - KEPT
        )

    def read(self, round_: int) -> Checkpoint | None:
        """Return the checkpoint of a round, or None if there is no whole one.

        A damaged one is reported in the log and left where it is.
        """
        path = self._path(round_)
        try:
            checkpoint = from_bytes(path.read_bytes())
            if checkpoint.round != round_:
                raise CheckpointError(f"it is of round {checkpoint.round}")
            return checkpoint
        except FileNotFoundError:
            return None
        except (OSError, CheckpointError) as error:
            log.error("%s is of no use: %s", path, error)
            return None

    def last(self) -> Checkpoint | None:
        """Return the last checkpoint that is whole, or None."""
        for round_ in reversed(self.rounds()):
            if (checkpoint := self.read(round_)) is not None:
                return checkpoint
        return None

    def rounds(self) -> list[int]:
        """Return the rounds of which there are checkpoints, in order."""
        pattern = re.compile(re.escape(self._name) + r"\.([0-9]+)\.state")
        try:
            names = [entry.name for entry in self._folder.iterdir()]
        except OSError:
            return []
        return sorted(int(match[1]) for name in names if (match := pattern.fullmatch(name)))

    def clear(self) -> None:
        """Remove them all.

        Raises:
            CheckpointError: if that fails.
        """
        self._remove([*map(self._path, self.rounds()), self._beside])

    def _remove(self, paths: Iterable[Path]) -> None:
        for path in paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise CheckpointError(f"cannot remove {path}: {error.strerror}") from error

    @property
    def _beside(self) -> Path:
        """Where a checkpoint is written; what was cut off there is overwritten by the next."""
        return self._folder / f"{self._name}.part"

    def _path(self, round_: int) -> Path:
        return self._folder / f"{self._name}.{round_}.state"


def to_bytes(checkpoint: Checkpoint) -> bytes:
    """Return a checkpoint as the bytes of its file: a mark, a SHA-256, facts, safetensors."""
    head = json.dumps(
        {"run": checkpoint.run, "round": checkpoint.round, "facts": dict(checkpoint.facts)}
    )
    arrays = {name: np.asarray(array, order="C") for name, array in checkpoint.arrays.items()}
    text = head.encode()
    body = len(text).to_bytes(8, "little") + text + save(arrays)
    return _MAGIC + hashlib.sha256(body).digest() + body


def from_bytes(data: bytes) -> Checkpoint:
    """Undo `to_bytes`.

    Raises:
        CheckpointError: if the bytes are not exactly what was written.
    """
    start = len(_MAGIC) + _DIGEST
    body = data[start:]
    if data[: len(_MAGIC)] != _MAGIC or hashlib.sha256(body).digest() != data[len(_MAGIC) : start]:
        raise CheckpointError("it is damaged (its checksum is wrong)")
    try:
        size = int.from_bytes(body[:8], "little")
        head = json.loads(body[8 : 8 + size])
        run, round_, facts = head["run"], head["round"], head["facts"]
        if not (type(run) is str and type(round_) is int and type(facts) is dict):
            raise TypeError("its head is of other types")
        return Checkpoint(run, round_, load(body[8 + size :]), facts)
    except (ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        raise CheckpointError(f"it is damaged: {error}") from error
