"""Building a testbed, and running a federation on it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.launcher.local import Place, run_at
from deploy.testbed.iproute import batch, require
from deploy.testbed.registry import Record, kept, sweep
from deploy.testbed.shape import shape
from deploy.testbed.topology import Wiring
from hierfl.config import Config
from hierfl.runs import interface_counters

IPV6 = Path("/proc/net/if_inet6")


def run_testbed(config: Config, out: Path) -> int:
    """Run every node of `config` in a network namespace of its own; see `run_local`.

    Raises:
        ConfigError: this machine cannot build the testbed.
        HierflError: it failed to.
    """
    with testbed(config, out) as wiring:
        sets = [part for key, at in wiring.listens.items() for part in ("--set", f"{key}={at}")]
        if config.security.certs is None:  # it stays within this machine
            sets += ["--set", "security.insecure=true"]
        place = Place(sets, wiring.namespaces, {interface_counters.VARIABLE: wiring.switch})
        return run_at(place, config, out=out)


@contextmanager
def testbed(config: Config, out: Path) -> Iterator[Wiring]:
    """While inside, the testbed of a federation exists, and its links are shaped.

    Args:
        config: the federation; its addresses are replaced.
        out: the run folder, by which `hierfl link` finds it.

    Raises:
        ConfigError: this machine cannot build it.
        HierflError: it failed to.
    """
    require()
    sweep()
    wiring = Wiring.of(config, f"hierfl-{os.getpid()}")
    namespaces = list(wiring.namespaces.values())
    with kept(Record(str(out.resolve()), wiring.switch, namespaces, wiring.cuts)):
        batch("ip", [f"netns add {name}" for name in (*namespaces, wiring.switch)])
        batch("ip", list(_at_switch(wiring)), wiring.switch)
        for node, namespace in wiring.namespaces.items():
            batch("ip", list(_at_node(wiring, node)), namespace)
        shape(wiring)
        for edge in config.edges:
            _forward_nothing(wiring.namespaces[edge.name])
        yield wiring


def _at_switch(wiring: Wiring) -> Iterator[str]:
    for bridge in wiring.bridges:
        yield f"link add {bridge} type bridge"
        yield from _up(bridge)
    for w in wiring.wires:
        namespace = wiring.namespaces[w.node]
        yield f"link add {w.port} type veth peer name {w.interface} netns {namespace}"
        yield f"link set {w.port} master {w.bridge}"
        yield from _up(w.port)


def _up(interface: str) -> Iterator[str]:
    """Let an interface say nothing of its own accord, and count each packet as it would be sent."""
    if IPV6.exists():
        yield f"link set {interface} addrgenmode none"
    yield f"link set {interface} gso_max_segs 1"
    yield f"link set {interface} up"


def _at_node(wiring: Wiring, node: str) -> Iterator[str]:
    yield "link set lo up"
    for w in wiring.wires:
        if w.node == node:
            yield from _up(w.interface)
            yield f"addr add {w.address}/16 dev {w.interface}"


def _forward_nothing(namespace: str) -> None:
    """Let no packet through an edge; a new namespace takes the machine's own setting over."""
    command = "echo 0 > /proc/sys/net/ipv4/ip_forward"
    subprocess.run(
        ["ip", "netns", "exec", namespace, "sh", "-c", command], check=True, start_new_session=True
    )
