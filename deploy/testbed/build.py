"""Builds a testbed and runs a federation on it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloud.views.base import View
from deploy.launcher.local import Place, run_at
from deploy.launcher.processes import Processes
from deploy.testbed.controls import testbed_name
from deploy.testbed.iproute import batch, require
from deploy.testbed.registry import Record, kept, sweep
from deploy.testbed.shape import shape
from deploy.testbed.topology import Wiring
from hierfl.config import Config
from hierfl.runs import interface_counters

IPV6 = Path("/proc/net/if_inet6")


def run_testbed(
    config: Config, *, out: Path, processes: Processes, view: View | None = None
) -> None:
    """Run every node of `config` in its own network namespace; see `run_local`.

    Raises:
        ConfigError: if this machine cannot build a testbed.
        HierflError: if building it fails.
    """
    with testbed(config, out) as wiring:
        sets = [part for key, at in wiring.listens.items() for part in ("--set", f"{key}={at}")]
        if config.security.certs is None:  # the traffic stays on this machine
            sets += ["--set", "security.insecure=true"]
        place = Place(sets, wiring.namespaces, {interface_counters.VARIABLE: wiring.switch})
        run_at(place, config, out, processes, view=view)


@contextmanager
def testbed(config: Config, out: Path) -> Iterator[Wiring]:
    """Build the testbed of a federation, with shaped links; remove it on exit.

    Args:
        config: the federation; its addresses are replaced.
        out: the run folder, by which `hierfl link` finds the testbed.

    Raises:
        ConfigError: if this machine cannot build a testbed.
        HierflError: if building it fails.
    """
    require()
    sweep()
    wiring = Wiring.of(config, testbed_name())
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
    """Bring an interface up without own traffic; count packets as they would be on a wire."""
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
    """Disable forwarding at an edge; a new namespace inherits the machine's setting."""
    command = "echo 0 > /proc/sys/net/ipv4/ip_forward"
    subprocess.run(
        ["ip", "netns", "exec", namespace, "sh", "-c", command], check=True, start_new_session=True
    )
