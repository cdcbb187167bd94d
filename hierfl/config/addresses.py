"""Addresses of nodes: HOST:PORT, with an IPv6 address in brackets."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

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


def check_url(url: str) -> None:
    """Check that a text is the URL of a server that speaks HTTP.

    Raises:
        ValueError: if it is not.

    >>> check_url("http://127.0.0.1:4318")
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("should be a URL, http://HOST:PORT or https://HOST:PORT")


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a host, an IPv6 address without brackets.

    >>> is_loopback("::1"), is_loopback("0.0.0.0")
    (True, False)
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
