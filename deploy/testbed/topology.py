"""The plan of a testbed: its names and addresses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hierfl.config import CLOUD, Config, Link
from hierfl.errors import ConfigError

UPLINK, CLUSTER = "uplink", "cluster"
"""Interfaces: a node's to its parent; an edge's or the cloud's to its children."""

CORE = "core"
MOST_EDGES = 254
LISTENS_AT = 4700
"""The port of every parent; each has its own address."""


@dataclass(frozen=True)
class Wire:
    """A veth pair between a node and a bridge.

    Attributes:
        node: the node's name.
        interface: its end at the node.
        port: its end at the switch. The first letter is d or e for the link of a device or an edge
            to its parent, p for the connection of a parent to a bridge.
        bridge: the bridge of the port.
        address: the node's IPv4 address at this interface.
        link: its rates, delay and loss.
    """

    node: str
    interface: str
    port: str
    bridge: str
    address: str
    link: Link


@dataclass(frozen=True)
class Wiring:
    """All namespaces, wires and addresses of a testbed.

    Attributes:
        prefix: the prefix of the names of its namespaces.
        wires: the wires, in the tree's order.
        listens: configuration key -> listening address, for every parent.
    """

    prefix: str
    wires: tuple[Wire, ...]
    listens: dict[str, str]

    @classmethod
    def of(cls, config: Config, prefix: str) -> Wiring:
        """Return the wiring of a federation.

        Raises:
            ConfigError: if it has too many edges.
        """
        if len(config.edges) > MOST_EDGES:
            raise ConfigError("--testbed", f"a testbed has at most {MOST_EDGES} edges")
        listens = {"cloud.address": f"{_host(0, 1)}:{LISTENS_AT}"}
        for i in range(len(config.edges)):
            listens[f"edges.{i}.address"] = f"{_host(i + 1, 1)}:{LISTENS_AT}"
        return cls(prefix, tuple(_wires(config)), listens)

    @property
    def switch(self) -> str:
        """The namespace of the bridges; no node's namespace can have this name."""
        return f"{self.prefix}.switch"

    @property
    def bridges(self) -> list[str]:
        """The names of the bridges."""
        return list(dict.fromkeys(wire.bridge for wire in self.wires))

    @property
    def namespaces(self) -> dict[str, str]:
        """Node -> the name of its namespace."""
        return {wire.node: f"{self.prefix}-{wire.node}" for wire in self.wires}

    @property
    def cuts(self) -> dict[str, str]:
        """Node -> the port that connects it to its parent; for the cloud, to the edges."""
        return {w.node: w.port for w in self.wires if w.interface == UPLINK or w.node == CLOUD}


def _wires(config: Config) -> Iterator[Wire]:
    yield Wire(CLOUD, CLUSTER, "p0", CORE, _host(0, 1), Link())
    number = 0
    for i, edge in enumerate(config.edges, start=1):
        link = config.links.of("edge", edge.name)
        yield Wire(edge.name, UPLINK, f"e{i}", CORE, _host(0, i + 1), link)
        yield Wire(edge.name, CLUSTER, f"p{i}", f"cluster{i}", _host(i, 1), Link())
        for k, device in enumerate(edge.devices, start=2):
            number += 1
            link = config.links.of("device", device)
            yield Wire(device, UPLINK, f"d{number}", f"cluster{i}", _host(i, k), link)


def _host(network: int, number: int) -> str:
    return f"10.{network}.{number >> 8}.{number & 255}"
