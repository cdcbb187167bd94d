"""The desired files and folders of a host, and the tar stream that carries them."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass

FOLDER = "-"
"""Stands for the content's hash of a folder."""


@dataclass(frozen=True)
class Entry:
    """A file or a folder.

    Attributes:
        path: its absolute path.
        mode: its permissions.
        owner: the user's name.
        content: None for a folder.
    """

    path: str
    mode: int
    owner: str
    content: bytes | None

    def state(self) -> str:
        """Return the state that `survey` finds if the entry is as desired."""
        held = FOLDER if self.content is None else hashlib.sha256(self.content).hexdigest()
        return f"{held} {self.mode:o} {self.owner}"


def packed(entries: Iterable[Entry]) -> bytes:
    """Return a tar archive, relative to the root folder.

    tar creates a file with its final mode or a narrower one, so a key is never readable by others.
    """
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for entry in entries:
            member = tarfile.TarInfo(entry.path.lstrip("/"))
            member.mode, member.uname, member.gname = entry.mode, entry.owner, "root"
            member.type = tarfile.DIRTYPE if entry.content is None else tarfile.REGTYPE
            member.size = len(entry.content or b"")
            archive.addfile(member, io.BytesIO(entry.content or b""))
    return stream.getvalue()
