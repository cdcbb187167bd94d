"""One node of `hierfl accelerate`: a Flower app's ClientApp at the end of a link."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from flwr.clientapp import ClientApp

from deploy.stock_app.app import Value, load_part
from hierfl.link.client import LinkClient

MAX_FRAME = (1 << 31) - 1
"""Bytes in a frame, which no app has to know: as many as gRPC and protobuf can bear."""


@dataclass(frozen=True)
class Seat:
    """What the launcher tells a node.

    Attributes:
        name: the node's.
        address: the link's.
        folder: the app's.
        client: `module:attribute` of its ClientApp.
        run_config: the app's.
        node_config: the node's, as Flower's simulation would give it.
    """

    name: str
    address: str
    folder: str
    client: str
    run_config: dict[str, Value]
    node_config: dict[str, Value]

    def to_json(self) -> str:
        """Return what `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Seat:
        """Undo `to_json`."""
        return cls(**json.loads(text))


def run(text: str) -> None:
    """Serve a seat, given as JSON, until the run is done.

    Raises:
        HierflError: whatever a person can put right.
    """
    seat = Seat.from_json(text)
    _reseed()
    app = load_part(seat.client, "clientapp", ClientApp, Path(seat.folder))
    client = LinkClient(seat.address, seat.name, app, max_frame=MAX_FRAME)
    client.context.run_config = seat.run_config
    client.context.node_config = seat.node_config
    client.serve()


def _reseed() -> None:
    """Give the node global random generators of its own, for the app.

    It has been forked with copies of those of its siblings: they would draw the same batches and
    the same noise. Python's `random` sees to it by itself.
    """
    np.random.seed()
    if torch := sys.modules.get("torch"):
        torch.seed()
