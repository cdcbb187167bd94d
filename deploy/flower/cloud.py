"""The cloud's ServerApp: gathers the tree, then runs the cloud as in a direct run."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flwr.serverapp import Grid

from cloud.main import run
from cloud.views.base import Harmless
from cloud.views.lines import Plain
from deploy.flower.invitation import Invitation
from deploy.flower.node_dispatcher import NodeDispatcher, gather
from deploy.flower.settings import Gathering, Value, topology
from hierfl.config import CLOUD, Config
from hierfl.errors import RunFailed
from hierfl.learning.threads import one_thread
from hierfl.link import link_pb2 as pb
from hierfl.link.rendezvous import Rendezvous
from hierfl.planning.plan import resolve
from hierfl.runs.folder import claimed
from hierfl.tls.identity import Identity


def cloud(grid: Grid, own: Gathering, run_config: Mapping[str, Value]) -> None:
    """Run the federation whose edges are the nodes of this SuperLink.

    Raises:
        HierflError: for any expected error.
    """
    topology(run_config, SOMEWHERE)  # wrong keys are reported before any node is contacted
    certs = Path(own.certs).expanduser() if own.certs else None
    identity = Identity.read(certs, CLOUD) if certs else None
    edges = gather(grid, own.edges, own.wait, "edges")
    dispatcher = NodeDispatcher(grid, Invitation(CLOUD, "", secrets.token_hex(16), own.wait))
    with (
        Rendezvous(own.link_address, dispatcher.invitation.token, edges, identity) as rendezvous,
        dispatcher.towards(rendezvous.address),
    ):
        entries = rendezvous.wait(edges, own.wait, dispatcher.check)
        if entries is None:
            raise _missing(rendezvous.names(), edges, own.wait)
        config = _config(run_config, own, certs, rendezvous.address, entries)
        with claimed(config, Path(own.out) if own.out else None) as (folder, _):
            rendezvous.answer(config.to_yaml())
            rendezvous.close()
            dispatcher.known(config.to_yaml())
            one_thread()
            view = Harmless(Plain(config, folder, sys.stdout))
            run(config, folder, view, token=dispatcher.invitation.token, on_grid=dispatcher.watch)


SOMEWHERE = {"edges": [{"name": "edge", "devices": ["device"]}]}
"""A tree with which the other keys can be checked."""


def _config(
    run_config: Mapping[str, Value],
    own: Gathering,
    certs: Path | None,
    address: str,
    entries: Sequence[pb.Entry],
) -> Config:
    check_devices(own, {entry.name: entry.devices for entry in entries})
    nodes: dict[str, Any] = {
        "cloud": {"address": address},
        "edges": [
            {"name": entry.name, "address": entry.address, "devices": list(entry.devices)}
            for entry in entries
        ],
        "security": {
            "certs": str(certs) if certs else None,
            "insecure": run_config.get("security.insecure", False),
        },
    }
    return resolve(topology(run_config, nodes))


def check_devices(own: Gathering, there: Mapping[str, Sequence[str]]) -> None:
    """Check that there are as many devices as required.

    Args:
        own: the run config.
        there: edge -> its devices.

    Raises:
        RunFailed: if there are fewer.
    """
    devices = sum(map(len, there.values()))
    if devices < own.devices:
        counts = ", ".join(f"{edge} {len(names)}" for edge, names in there.items())
        raise RunFailed(
            f"only {devices} of {own.devices} devices are attached: {counts}",
            "Start the others before the run, or set a smaller `devices` in the run config.",
        )


def _missing(here: Sequence[str], edges: int, wait: float) -> RunFailed:
    named = ", ".join(here) or "none"
    return RunFailed(
        f"{len(here)} of {edges} edges joined within {wait:g} s: {named}",
        "The log of an edge's SuperNode says what it is waiting for: its own SuperLink, its "
        "devices, or the cloud's link-address.",
    )
