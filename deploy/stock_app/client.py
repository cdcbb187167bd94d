"""One node of `hierfl accelerate`: a Flower app's ClientApp at the end of a link."""

from __future__ import annotations

from pathlib import Path

from flwr.clientapp import ClientApp

from deploy.stock_app.app import load_part
from deploy.stock_app.node import MAX_FRAME, ClientNode, reseed
from hierfl.link.client import LinkClient


def run(text: str) -> None:
    """Serve as a `ClientNode`, given as JSON, until the run is done.

    Raises:
        HierflError: whatever a person can put right.
    """
    node = ClientNode.from_json(text)
    reseed()
    app = load_part(node.client, "clientapp", ClientApp, Path(node.folder))
    client = LinkClient(node.address, node.name, app, max_frame=MAX_FRAME)
    client.context.run_config = node.run_config
    client.context.node_config = node.node_config
    client.serve()
