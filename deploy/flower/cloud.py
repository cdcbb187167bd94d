"""The cloud's ServerApp: it gathers the tree, and is then the cloud of a direct run."""

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
from deploy.flower.node_dispatcher import Usher, gather
from deploy.flower.settings import Gathering, Value, topology
from hierfl.config import CLOUD, Config
from hierfl.errors import RunFailed
from hierfl.learning.threads import one_thread
from hierfl.link import link_pb2 as pb
from hierfl.link.rendezvous import Rendezvous
from hierfl.planning.plan import resolve
from hierfl.runs.folder import claim
from hierfl.tls.identity import Identity


def cloud(grid: Grid, own: Gathering, run_config: Mapping[str, Value]) -> None:
    """Run the federation whose edges are the nodes of this SuperLink.

    Raises:
        HierflError: whatever a person can put right.
    """
    topology(run_config, SOMEWHERE)  # what is wrong with the keys is said before anybody is asked
    certs = Path(own.certs).expanduser() if own.certs else None
    identity = Identity.read(certs, CLOUD) if certs else None
    edges = gather(grid, own.edges, own.wait, "edges")
    usher = Usher(grid, Invitation(CLOUD, "", secrets.token_hex(16), own.wait))
    with (
        Rendezvous(own.link_address, usher.invitation.token, edges, identity) as rendezvous,
        usher.towards(rendezvous.address),
    ):
        entries = rendezvous.wait(edges, own.wait, usher.check)
        if entries is None:
            raise _missing(rendezvous.names(), edges, own.wait)
        config = _config(run_config, own, certs, rendezvous.address, entries)
        folder = claim(config, Path(own.out) if own.out else None)
        rendezvous.answer(config.to_yaml())
        rendezvous.close()
        usher.known(config.to_yaml())
        one_thread()
        view = Harmless(Plain(config, folder, sys.stdout))
        run(config, folder, view, token=usher.invitation.token, on_grid=usher.watch)


SOMEWHERE = {"edges": [{"name": "edge", "devices": ["device"]}]}
"""A tree to check the other keys with."""


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
    """See that as many devices are there as were asked for, given by edge.

    Raises:
        RunFailed: if not.
    """
    devices = sum(map(len, there.values()))
    if devices < own.devices:
        counts = ", ".join(f"{edge} {len(names)}" for edge, names in there.items())
        raise RunFailed(
            f"{devices} of {own.devices} devices are there: {counts}",
            "Start the others before the run, or ask for fewer with the run config's `devices`.",
        )


def _missing(here: Sequence[str], edges: int, wait: float) -> RunFailed:
    named = ", ".join(here) or "nobody"
    return RunFailed(
        f"{len(here)} of {edges} edges joined within {wait:g} s: {named}",
        "The log of an edge's SuperNode says what it waits for: its own SuperLink, its devices, or "
        "the cloud's link-address.",
    )
