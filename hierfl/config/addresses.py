"""Addresses of nodes: HOST:PORT, with an IPv6 address in brackets."""

from __future__ import annotations

import re
from ipaddress import ip_address

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})")


def split(address: str) -> tuple[str, int]:
    """Return the host, without brackets, and the port.

    Raises:
        ValueError: if it is not an address.

    >>> split("[::1]:4700")
    ('::1', 4700)
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match[2]) > 65535:
        raise ValueError("should be host:port with a port of at most 65535 ([host]:port for IPv6)")
    return match[1].strip("[]"), int(match[2])


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a host, an IPv6 address without brackets.

    >>> is_loopback("::1"), is_loopback("0.0.0.0")
    (True, False)
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
