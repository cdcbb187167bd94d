"""What the cloud of a Flower app was answered, on disk: a cloud that is started again goes on.

A ServerApp is the user's program, whose state (model, strategy, round, `context.state`) cannot be
saved from outside. But all that it learns comes from its nodes. So their replies are kept. A new
process runs the ServerApp from the beginning and answers what it asks from the journal, as long as
it asks for the same; then it is where the old one was. Global random generators are seeded alike.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from flwr.app import Message

from hierfl.errors import RunFailed
from hierfl.link.flower_compat import content_to_bytes, message_from_bytes, message_to_bytes
from hierfl.process.replace_file import replace_file

DIGEST, LENGTH = 32, 8


class Journal:
    """The replies of a run, an exchange a file: `000001.replies` and so on.

    A file holds the SHA-256 of what was asked, that of the replies, and the replies, each after its
    length (8 bytes, little endian). One that is damaged ends the journal, as does an exchange in
    which something else is asked.

    Args:
        folder: where it lies; made if it is not there.

    Attributes:
        run: the run's identifier, the same for each process of the run.

    Raises:
        RunFailed: the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._next = 1
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / "run"
            if not file.exists():
                replace_file(file, os.urandom(16).hex().encode(), durable=True)
            self.run = file.read_text()
        except OSError as error:
            raise self._cannot(error) from None

    @property
    def kept(self) -> int:
        """How many exchanges can still be answered from it, if what is asked is the same."""
        number = self._next
        while self._file(number).exists():
            number += 1
        return number - self._next

    def seed(self) -> None:
        """Seed Python's, NumPy's and PyTorch's global generators, alike in each process."""
        seed = int(self.run, 16)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        if torch := sys.modules.get("torch"):
            torch.manual_seed(seed % 2**63)

    def recall(self, asked: bytes) -> list[Message] | None:
        """Return the replies to the next messages, if they are those that were asked then.

        If they are not, the rest of the journal is deleted.

        Args:
            asked: `digest` of the messages.
        """
        try:
            data = self._file(self._next).read_bytes()
        except OSError:
            return None
        wanted, said, body = data[:DIGEST], data[DIGEST : 2 * DIGEST], data[2 * DIGEST :]
        if wanted != asked or said != hashlib.sha256(body).digest():
            self._forget()
            return None
        self._next += 1
        replies = []
        while body:
            end = LENGTH + int.from_bytes(body[:LENGTH], "little")
            replies.append(message_from_bytes(body[LENGTH:end]))
            body = body[end:]
        return replies

    def keep(self, asked: bytes, replies: Sequence[Message]) -> None:
        """Keep the replies to messages.

        Args:
            asked: `digest` of the messages.
            replies: to them.

        Raises:
            RunFailed: they cannot be written.
        """
        parts = [message_to_bytes(reply) for reply in replies]
        body = b"".join(len(part).to_bytes(LENGTH, "little") + part for part in parts)
        try:
            data = asked + hashlib.sha256(body).digest() + body
            replace_file(self._file(self._next), data, durable=True)
        except OSError as error:
            raise self._cannot(error) from None
        self._next += 1

    def close(self) -> None:
        """Delete it: the run is over."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _forget(self) -> None:
        for number in range(self._next, self._next + self.kept):
            self._file(number).unlink(missing_ok=True)

    def _file(self, number: int) -> Path:
        return self._folder / f"{number:06}.replies"

    def _cannot(self, error: OSError) -> RunFailed:
        return RunFailed(f"cannot write to {self._folder}: {error.strerror}")


def digest(asked: Sequence[Message]) -> bytes:
    """Return the SHA-256 of messages, in whatever order they are sent.

    Content that messages share is read once.
    """
    contents = {id(each.content): each.content for each in asked}
    digests = {
        key: hashlib.sha256(content_to_bytes(content)).digest() for key, content in contents.items()
    }
    parts = sorted(
        f"{each.metadata.dst_node_id} {each.metadata.message_type} ".encode()
        + digests[id(each.content)]
        for each in asked
    )
    return hashlib.sha256(b"".join(parts)).digest()
