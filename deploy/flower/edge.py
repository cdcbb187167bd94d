"""The edge: a ClientApp at the cloud's SuperLink, and a ServerApp at its own SuperLink."""

from __future__ import annotations

import secrets
from pathlib import Path

from flwr.serverapp import Grid

from deploy.flower.invitation import PATIENCE_S, Invitation, Node, state_folder
from deploy.flower.node_dispatcher import NodeDispatcher, gather
from deploy.flower.settings import Gathering
from deploy.flower.submission import own_superlink, start_run
from edge.main import run
from hierfl.config import CLOUD
from hierfl.errors import RunFailed
from hierfl.link.rendezvous import Rendezvous


def submit(node: Node, invitation: Invitation, app: Path, link: str) -> None:
    """Submit the same app to the edge's own SuperLink; with `link = "stream"`, wait for its end.

    Args:
        node: the edge; its node config names the connection to that SuperLink (`superlink`), the
            number of devices to wait for (`devices`) and the address of its link (`link-address`).
        invitation: the cloud's invitation.
        app: the folder of the app.
        link: "stream", or "flower", where the submitted run continues by itself.

    Raises:
        ConfigError: if the node config does not name the SuperLink.
        RunFailed: if the run fails, with the end of its log.
    """
    run_config = {
        "tier": "edge",
        "link": link,
        "upstream": invitation.address,
        "token": invitation.token,
        "node": node.name,
        "certs": str(node.certs or ""),
        "wait": invitation.wait,
        "devices": int(node.config.get("devices", 1)),
        "link-address": str(node.config.get("link-address", "127.0.0.1:0")),
    }
    superlink = own_superlink(node)
    start_run(app, superlink, node.name, run_config, until_its_end=link == "stream")


def edge(grid: Grid, own: Gathering, home: Path) -> None:
    """Run the edge whose devices are the nodes of this SuperLink.

    Raises:
        HierflError: for any expected error.
    """
    node = Node(own.node, Path(own.certs) if own.certs else None, {})
    upstream = Invitation(CLOUD, own.upstream, own.token, own.wait)
    devices = gather(grid, own.devices, own.wait, "devices")
    dispatcher = NodeDispatcher(grid, Invitation(node.name, "", secrets.token_hex(16), own.wait))
    with (
        Rendezvous(
            own.link_address, dispatcher.invitation.token, devices, node.identity()
        ) as rendezvous,
        dispatcher.towards(rendezvous.address),
    ):
        entries = rendezvous.wait(devices, own.wait, dispatcher.check)
        if entries is None:
            raise _missing(rendezvous.names(), devices, own.wait)
        text = node.join(upstream, rendezvous.address, [entry.name for entry in entries])
        rendezvous.answer(text)
        rendezvous.close()
        dispatcher.known(text)
        config = node.local(text)
        run(
            config,
            node.name,
            state_folder(home, config),
            token=own.token,
            devices_token=dispatcher.invitation.token,
            patience=PATIENCE_S,
            on_grid=dispatcher.watch,
        )


def _missing(here: list[str], devices: int, wait: float) -> RunFailed:
    return RunFailed(
        f"{len(here)} of {devices} devices joined within {wait:g} s: {', '.join(here) or 'none'}",
        "The logs of the devices' SuperNodes say what they are waiting for.",
    )
