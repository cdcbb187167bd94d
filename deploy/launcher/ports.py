"""Ports that the kernel chooses and nobody else can take."""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack

from hierfl.errors import ConfigError


class Ports(ExitStack):
    """While entered, holds one bound, never listening socket for each address it was asked for.

    On Linux a server that sets SO_REUSEADDR (as gRPC does; `grpc.so_reuseport` must be 0, so that
    a second server is refused) can listen on such a port, again and again if it is restarted,
    while the kernel gives it to no one else. Elsewhere a bound port cannot be bound twice: there
    it is let go at once, and the time until the server binds it is a small risk.
    """

    def fix(self, key: str, address: str) -> str:
        """`address` with a port of the kernel's choice for port 0.

        Args:
            key: the configuration key of the address, for the error text.
            address: `host:port`; any port but 0 is returned as it is.

        Raises:
            ConfigError: the host is not one of this machine's.
        """
        host, _, port = address.rpartition(":")
        if int(port) != 0:
            return address
        try:
            family, kind, protocol, _, place = socket.getaddrinfo(
                host.strip("[]"), 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            held = self.enter_context(socket.socket(family, kind, protocol))
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind(place)
        except OSError as error:
            hint = "Port 0 asks for a free port here; a node on another machine needs a number."
            raise ConfigError(key, f"{address} cannot be had: {error.strerror}", hint) from None
        chosen = int(held.getsockname()[1])
        if sys.platform != "linux":
            held.close()
        return f"{host}:{chosen}"
