"""Checks of host names, ports and the connection to a parent."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from ipaddress import ip_address

from deploy.doctor.finding import Finding, failure, ok, warning
from hierfl.config.addresses import split

PROXIES = tuple(
    name
    for lower in ("grpc_proxy", "http_proxy", "https_proxy", "all_proxy")
    for name in (lower, lower.upper())
)

REACH_S = 5.0
"""Seconds within which a connection must be established."""


def name(host: str, listens: bool) -> Finding | None:
    """Check that a host name resolves; return None if it is an address already.

    Args:
        host: a host name or an address.
        listens: whether a node on this machine listens there for other machines.
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
            f"{text} on this machine: other machines cannot reach a node that listens there.",
            "Remove the name from /etc/hosts (Debian maps it to 127.0.1.1), or use this machine's "
            "address.",
        )
    return ok(what, text)


def proxies(environment: Mapping[str, str]) -> Finding | None:
    """Say which proxies the environment names; links do not use them."""
    named = [name for name in PROXIES if environment.get(name)]
    if not named:
        return None
    return ok(
        "proxy",
        f"{', '.join(named)} {'is' if len(named) == 1 else 'are'} set; links are direct and do not "
        "use a proxy",
    )


def is_here(host: str) -> bool:
    """Return whether a node on this machine can listen at a host."""
    return isinstance(_bind(host, 0), int)


def port(node: str, key: str, address: str) -> Finding:
    """Check that a node can listen at its address.

    Args:
        node: its name.
        key: the key of its address in the topology.
        address: "host:port".
    """
    host, number = split(address)
    what = f"port {number}"
    if number == 0:
        return failure(
            what,
            f"the kernel would choose the port of {node}, and children on other machines could not "
            "know it.",
            f"Give {key} a port.",
        )
    result = _bind(host, number)
    if isinstance(result, int):
        return ok(what, f"is free for {node} at {host}")
    match result.errno:
        case errno.EADDRINUSE:
            text = f"is in use at {host}."
            remedy = (
                f"{node} may be running already; `ss -ltnp sport = :{number}` shows the process. "
                f"Stop it, or change {key} in the topology of all nodes."
            )
        case errno.EADDRNOTAVAIL:
            text = f"{node} should listen at {host}, which is not an address of this machine."
            remedy = f"Run {node} on the machine with this address, or correct {key}."
        case errno.EACCES:
            text = f"only root may listen at port {number}."
            remedy = f"Give {key} a port above 1023."
        case _:
            text = f"{node} cannot listen at {address}: {result.strerror}."
            remedy = f"Correct {key}."
    return failure(what, text, remedy)


def way(parent: str, key: str, address: str) -> Finding:
    """Check that a parent accepts connections at its address.

    Args:
        parent: its name.
        key: the key of its address in the topology.
        address: "host:port".
    """
    what = f"to {parent}"
    if split(address)[1] == 0:
        return failure(what, f"{address} has no port.", f"Give {key} a port.")
    try:
        socket.create_connection(split(address), REACH_S).close()
    except ConnectionRefusedError:
        text = f"no process listens at {address}."
        remedy = f"Start {parent}: " + (
            "it listens immediately." if parent == "cloud" else "it listens once the cloud is up."
        )
    except TimeoutError:
        text = f"{address} does not answer within {REACH_S:g} s."
        remedy = (
            "Check the address, that the machine is on, and that its firewall allows this port."
        )
    except OSError as error:
        text = f"{address} cannot be reached: {error.strerror}."
        remedy = "Check the address, and that both machines are on the same network."
    else:
        return ok(what, f"a process listens at {address}")
    return failure(what, text, remedy)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _bind(host: str, number: int) -> int | OSError:
    """Bind as a node's server would; return the port or the error."""
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
