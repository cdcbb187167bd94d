"""What the launcher tells a process of `hierfl accelerate`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np

from deploy.stock_app.app import Value

MAX_FRAME = (1 << 31) - 1
"""The longest frame, in bytes: the limit of gRPC and protobuf."""


@dataclass(frozen=True)
class Node:
    """Tells a process what to run; it travels as JSON in the process's arguments."""

    def to_json(self) -> str:
        """Return what `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Undo `to_json`."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class ServerNode(Node):
    """What the process of the ServerApp is told.

    Attributes:
        address: where its link listens.
        nodes: the names of all nodes.
        folder: the app's.
        server: `module:attribute` of its ServerApp.
        run_config: the app's.
    """

    address: str
    nodes: list[str]
    folder: str
    server: str
    run_config: dict[str, Value]


@dataclass(frozen=True)
class ClientNode(Node):
    """What a node is told.

    Attributes:
        address: the link's.
        name: the node's.
        folder: the app's.
        client: `module:attribute` of its ClientApp.
        run_config: the app's.
        node_config: the node's, as Flower's simulation would give it.
    """

    address: str
    name: str
    folder: str
    client: str
    run_config: dict[str, Value]
    node_config: dict[str, Value]


def reseed() -> None:
    """Give this process global random generators of its own, for the app.

    It has been forked with copies of those of its siblings: they would draw the same batches and
    the same noise. Python's `random` sees to it by itself.
    """
    np.random.seed()
    if torch := sys.modules.get("torch"):
        torch.seed()
