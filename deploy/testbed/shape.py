"""Shapes links with queueing disciplines at both ends.

Each end limits what it sends: `up` at the node, `down` at the switch's port.
"""

from __future__ import annotations

from deploy.testbed.iproute import Refused, batch
from deploy.testbed.topology import Wire, Wiring
from hierfl.config import Link
from hierfl.config.quantities import bits_per_second, microseconds
from hierfl.errors import ConfigError

PACKET = 1514
BURST_S = 0.005
"""The burst that may be sent at once, in seconds at the rate."""

QUEUE_S, LEAST_QUEUE = 0.25, 64 * 1024
"""The queue, in seconds at the rate, and its least size in bytes; beyond it packets are lost."""

NEEDED_BY = {"tbf": "up and down", "netem": "delay and loss"}


def shape(wiring: Wiring) -> None:
    """Shape all links.

    Raises:
        ConfigError: if the kernel lacks a queueing discipline.
    """
    ends = [
        (namespace, disciplines(device, rate, wire.link))
        for wire in wiring.wires
        for namespace, device, rate in _ends(wiring, wire)
    ]
    for namespace in dict.fromkeys(namespace for namespace, _ in ends):
        commands = [command for where, some in ends if where == namespace for command in some]
        if commands:
            _apply(namespace, commands)


def _ends(wiring: Wiring, wire: Wire) -> list[tuple[str, str, str | None]]:
    """Return (namespace, interface, rate at which it sends) of both ends."""
    return [
        (wiring.namespaces[wire.node], wire.interface, wire.link.up),
        (wiring.switch, wire.port, wire.link.down),
    ]


def disciplines(device: str, rate: str | None, link: Link) -> list[str]:
    """Return the commands for `tc` that shape what an interface sends.

    >>> disciplines("d1", "1mbit", Link(up="1mbit"))
    ['qdisc add dev d1 root handle 1: tbf rate 1000000bit burst 3028 limit 65536']
    >>> disciplines("d1", None, Link(delay="20ms", loss=0.01))
    ['qdisc add dev d1 root handle 1: netem limit 100000 delay 20000us loss 1%']
    """
    commands = []
    place = "root handle 1:"
    if link.delay or link.loss:
        delay = f" delay {microseconds(link.delay)}us" if link.delay else ""
        loss = f" loss {100 * link.loss:g}%" if link.loss else ""
        commands.append(f"qdisc add dev {device} {place} netem limit 100000{delay}{loss}")
        place = "parent 1:1 handle 2:"
    if rate is not None:
        bits = bits_per_second(rate)
        burst = max(2 * PACKET, round(BURST_S * bits / 8))
        queue = max(LEAST_QUEUE, round(QUEUE_S * bits / 8))
        commands.append(
            f"qdisc add dev {device} {place} tbf rate {bits}bit burst {burst} limit {queue}"
        )
    return commands


def _apply(namespace: str, commands: list[str]) -> None:
    try:
        batch("tc", commands, namespace)
    except Refused as refused:
        kind = "netem" if " netem " in refused.command else "tbf"
        if "kind is unknown" not in refused.reason:
            raise
        raise ConfigError(
            "links",
            f"this machine's kernel has no {kind}, which {NEEDED_BY[kind]} need",
            f"Try `modprobe sch_{kind}`, or remove {NEEDED_BY[kind]} from `links`.",
        ) from None
