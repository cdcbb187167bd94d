"""Federations with certificates, good and bad ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from hierfl.config import Config, Edge
from hierfl.tls.authority import make_certificates
from hierfl.tls.identity import Identity

TREE = Config(
    edges=(
        Edge(name="a", devices=("a-0",)),
        Edge(name="b", devices=("b-0",)),
        Edge(name="c", devices=("c-0",)),
    )
)


class Federation:
    """A cloud, the edges a and b and a device at each, with certificates in a folder.

    Args:
        folder: where they are made; a CA that is there is used.
        starts: when they begin to be valid, in days from now.
        days: for how long they are.
    """

    def __init__(self, folder: Path, *, starts: int = 0, days: int = 30) -> None:
        self.folder = folder
        when = datetime.now(UTC) + timedelta(days=starts)
        make_certificates(TREE, folder, days=days, now=when)

    def __getitem__(self, name: str) -> Identity:
        """Return what a node would show, whatever it is good for."""
        return Identity(
            name, *(self.read(file) for file in ("ca.crt", f"{name}.crt", f"{name}.key"))
        )

    def sibling(self, folder: Path, *, starts: int, days: int) -> Federation:
        """Return the same nodes with other certificates of the same CA."""
        folder.mkdir()
        for file in ("ca.crt", "ca.key"):
            (folder / file).write_bytes(self.read(file))
        return Federation(folder, starts=starts, days=days)

    def read(self, file: str) -> bytes:
        return (self.folder / file).read_bytes()
