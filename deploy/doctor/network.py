"""Names, ports, and whether there is a way to a parent."""

from __future__ import annotations

import errno
import socket
from ipaddress import ip_address

from deploy.doctor.finding import Finding, failure, ok, warning
from hierfl.config.addresses import split

REACH_S = 5.0
"""Seconds within which a connection must be there."""


def name(host: str, listens: bool) -> Finding | None:
    """See what address a host's name has; None for what is an address already.

    Args:
        host: a name or an address.
        listens: whether a node on this machine listens there for others.
    """
    if _is_address(host):
        return None
    what = f"name {host}"
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        return failure(
            what,
            f"does not resolve here ({error.strerror}).",
            "Correct it in the topology, or add it to DNS or to /etc/hosts of this machine.",
        )
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    text = f"is {', '.join(addresses)}"
    if listens and host.lower() != "localhost" and ip_address(addresses[0]).is_loopback:
        return warning(
            what,
            f"{text} on this machine: who listens there is not heard by any other.",
            "Take the name out of its line in /etc/hosts (Debian puts it at 127.0.1.1), or use "
            "this machine's address.",
        )
    return ok(what, text)


def is_here(host: str) -> bool:
    """Return whether a node on this machine can listen at a host."""
    return isinstance(_bind(host, 0), int)


def port(node: str, key: str, address: str) -> Finding:
    """See whether a node can listen at its address.

    Args:
        node: its name.
        key: of its address in the topology.
        address: "host:port".
    """
    host, number = split(address)
    what = f"port {number}"
    if number == 0:
        return failure(
            what,
            f"the kernel would choose where {node} listens, and no child on another machine could "
            "know.",
            f"Give {key} a port.",
        )
    result = _bind(host, number)
    if isinstance(result, int):
        return ok(what, f"is free for {node} at {host}")
    match result.errno:
        case errno.EADDRINUSE:
            text = f"is in use at {host}."
            remedy = (
                f"Perhaps {node} runs already; `ss -ltnp sport = :{number}` names the process. "
                f"End it, or change {key} everywhere."
            )
        case errno.EADDRNOTAVAIL:
            text = f"{host} is no address of this machine, where {node} should listen."
            remedy = f"Run {node} where it is, or correct {key}."
        case errno.EACCES:
            text = f"{number} is for root alone."
            remedy = f"Give {key} a port above 1023."
        case _:
            text = f"{address} cannot be had: {result.strerror}."
            remedy = f"Correct {key}."
    return failure(what, text, remedy)


def way(parent: str, key: str, address: str) -> Finding:
    """See whether there is a way to a parent, and somebody at its end.

    Args:
        parent: its name.
        key: of its address in the topology.
        address: "host:port".
    """
    what = f"to {parent}"
    if split(address)[1] == 0:
        return failure(what, f"{address} names no port.", f"Give {key} one.")
    try:
        socket.create_connection(split(address), REACH_S).close()
    except ConnectionRefusedError:
        text = f"nobody listens at {address}."
        remedy = f"Start {parent}: " + (
            "it listens at once." if parent == "cloud" else "it listens once its cloud is there."
        )
    except TimeoutError:
        text = f"{address} does not answer within {REACH_S:g} s."
        remedy = "Is the address right, the machine on, its firewall open for this port?"
    except OSError as error:
        text = f"{address} cannot be reached: {error.strerror}."
        remedy = "Are both machines on the same network, and is the address right?"
    else:
        return ok(what, f"somebody listens at {address}")
    return failure(what, text, remedy)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _bind(host: str, number: int) -> int | OSError:
    """Bind as a node's server would; return the port, or why not."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(place)
            return int(tried.getsockname()[1])
    except OSError as error:
        return error
