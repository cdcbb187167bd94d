"""What a testbed consists of: its names and addresses, before any of it exists."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hierfl.config import CLOUD, Config, Link
from hierfl.errors import ConfigError

UPLINK, CLUSTER = "uplink", "cluster"
"""A node's interface towards its parent; an edge's, or the cloud's, towards its children."""

CORE = "core"
MOST_EDGES = 254
LISTENS_AT = 4700
"""The port at which every parent listens: each has an address of its own."""


@dataclass(frozen=True)
class Wire:
    """A veth pair between a node and a bridge.

    Attributes:
        node: whose it is.
        interface: its end at the node.
        port: its end at the switch; its first letter tells which kind of wire it is: d and e are
            the links of devices and edges towards their parents, p those of parents to a bridge.
        bridge: the bridge of the port.
        address: the node's address there, IPv4.
        link: how it is shaped.
    """

    node: str
    interface: str
    port: str
    bridge: str
    address: str
    link: Link


@dataclass(frozen=True)
class Wiring:
    """All of a testbed.

    Attributes:
        prefix: what the names of its namespaces begin with.
        wires: in the tree's order.
        listens: configuration key -> address, for every parent.
    """

    prefix: str
    wires: tuple[Wire, ...]
    listens: dict[str, str]

    @classmethod
    def of(cls, config: Config, prefix: str) -> Wiring:
        """Return a federation's.

        Raises:
            ConfigError: it has too many edges.
        """
        if len(config.edges) > MOST_EDGES:
            raise ConfigError("--testbed", f"a testbed has at most {MOST_EDGES} edges")
        listens = {"cloud.address": f"{_host(0, 1)}:{LISTENS_AT}"}
        for i in range(len(config.edges)):
            listens[f"edges.{i}.address"] = f"{_host(i + 1, 1)}:{LISTENS_AT}"
        return cls(prefix, tuple(_wires(config)), listens)

    @property
    def switch(self) -> str:
        """The namespace of the bridges; no node's can have this name."""
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
        """Node -> the port that joins it to its parent; for the cloud, to the edges."""
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
