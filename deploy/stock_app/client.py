"""A leaf of a Flower app's run: its ClientApp at the end of a link."""

from __future__ import annotations

from pathlib import Path

from flwr.clientapp import ClientApp

from deploy.stock_app.app import app_of, load_part
from deploy.stock_app.fingerprint import fingerprint
from deploy.stock_app.node import MAX_FRAME, ClientNode, reseed
from hierfl.config import Config
from hierfl.config.digest import digest
from hierfl.link import link_pb2 as pb
from hierfl.link.client import LinkClient
from hierfl.tls.policy import identity, warn_of_expiry


def run(text: str) -> None:
    """Serve as a `ClientNode`, given as JSON, until the run is done.

    Raises:
        HierflError: for a failure that the user can correct.
    """
    node = ClientNode.from_json(text)
    reseed()
    app = load_part(node.client, "clientapp", ClientApp, Path(node.folder))
    client = LinkClient(node.address, node.name, app, max_frame=MAX_FRAME)
    client.context.run_config = node.run_config
    client.context.node_config = node.node_config
    client.serve()


def run_device(config: Config, name: str) -> None:
    """Serve as one device of a topology with an app, until the run is done.

    It finds its place among all devices, in the topology's order, as `partition-id`, and their
    number as `num-partitions`; Flower's node id is one more than the former.

    Raises:
        HierflError: for a failure that the user can correct.
    """
    reseed()
    edge, found = config.edge(config.parent_of(name)), app_of(config)
    credentials = identity(config, name)
    warn_of_expiry(credentials)
    devices = [device for each in config.edges for device in each.devices]
    partition = devices.index(name)
    app = load_part(found.client, "clientapp", ClientApp, found.folder)

    def welcome(welcome: pb.Welcome) -> None:
        client.context.node_id = partition + 1  # unique in the tree, not only at the edge

    client = LinkClient(
        edge.address,
        name,
        app,
        model=fingerprint(found.folder),
        plan=digest(config).to_text(),
        max_frame=MAX_FRAME,
        patience=config.quorum.round_timeout,
        heartbeat=config.quorum.heartbeat,
        credentials=credentials.towards(edge.name) if credentials else None,
        on_welcome=welcome,
    )
    client.context.run_config = found.run_config
    own = config.app.node_config if config.app else {}
    client.context.node_config = {
        "partition-id": partition, "num-partitions": len(devices), **own,
    }  # fmt: skip
    client.serve()
