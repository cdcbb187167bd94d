"""Federations with certificates, good and bad ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hierfl.certs import make_certificates
from hierfl.config import Config, Edge
from hierfl.link.identity import Identity

TREE = Config(edges=(Edge(name="a", devices=("a-0",)), Edge(name="b", devices=("b-0",))))


class Federation:
    """Nodes with a CA of their own, which need not be one that is good for anything.

    Args:
        folder: where the certificates are made, if they are not there.
        starts: when they begin to be valid, in days from now.
        days: for how long they are.
        config: the nodes.
    """

    def __init__(
        self, folder: Path, *, starts: float = 0, days: int = 30, config: Config = TREE
    ) -> None:
        self.folder = folder
        when = datetime.now(UTC) + timedelta(days=starts)
        self.made = make_certificates(config, folder, days=days, now=when)

    def __getitem__(self, name: str) -> Identity:
        """Return a node's identity as it stands in the files, whatever it is good for."""
        return Identity(name, *self.files("ca.crt", f"{name}.crt", f"{name}.key"))

    def files(self, *names: str) -> Sequence[bytes]:
        """Return what is in some files."""
        return [(self.folder / name).read_bytes() for name in names]
