"""What a gRPC server answers, and at which port."""

from __future__ import annotations

import errno
import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import grpc

from hierfl.config.addresses import split
from hierfl.errors import ConfigError, LinkError

log = logging.getLogger(__name__)

PATIENCE_S = 60.0
"""Seconds that a node waits for an address that it cannot have yet."""

LOOK_S = 0.5
SAY_AGAIN_S = 10.0


class Server(Protocol):
    """What gRPC's two kinds of servers have in common here."""

    def add_insecure_port(self, address: str) -> int:
        """See `grpc.Server`."""

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        """See `grpc.Server`."""

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """See `grpc.Server`."""


def serve(server: Server, path: str, handler: grpc.RpcMethodHandler) -> None:
    """Let a server answer the calls of one method, given as "/SERVICE/METHOD"."""
    service, method = path.strip("/").split("/")
    handlers = grpc.method_handlers_generic_handler(service, {method: handler})
    server.add_generic_rpc_handlers((handlers,))


def bind(server: Server, address: str, credentials: grpc.ServerCredentials | None) -> str:
    """Bind a server to an address; return the address with the port that it has then.

    Args:
        server: not started yet.
        address: "host:port"; port 0 lets the kernel choose.
        credentials: None: plain text.

    Raises:
        LinkError: if the address cannot be had now.
    """
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError as error:  # the reason is in gRPC's own log
        raise LinkError(
            f"cannot listen at {address}: {error}",
            "Is another process using the port? Is the address one of this machine's?",
        ) from error
    return f"{address.rpartition(':')[0]}:{port}"


def await_address(
    address: str, patience: float = PATIENCE_S, say: Callable[[str], None] = log.warning
) -> None:
    """Wait until this machine can listen at an address.

    A network that is not up yet, a name that does not resolve yet, and a port that the process
    before still has are no mistakes in a configuration.

    Args:
        address: "host:port".
        patience: seconds.
        say: is told what is waited for, when that begins or changes and every 10 seconds.

    Raises:
        LinkError: it cannot listen there after that time.
        ConfigError: it never will: the port is for root alone.
    """
    deadline = time.monotonic() + patience
    said, said_at = "", 0.0
    while (reason := _obstacle(address)) is not None:
        if time.monotonic() > deadline:
            raise LinkError(
                f"cannot listen at {address}: {reason}",
                "Is another process using the port? Is the address one of this machine's?",
            )
        if reason != said or time.monotonic() - said_at > SAY_AGAIN_S:
            say(f"waiting to listen at {address}: {reason}")
            said, said_at = reason, time.monotonic()
        time.sleep(LOOK_S)


def _obstacle(address: str) -> str | None:
    """Return why nobody can listen at an address now; None if one can."""
    host, port = split(address)
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label that is too long
        return f"{host} does not resolve ({getattr(error, 'strerror', None) or error})"
    reason = None
    for family, kind, protocol, _, place in places:
        try:
            with socket.socket(family, kind, protocol) as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tried.bind(place)
                return None
        except OSError as error:
            if error.errno == errno.EACCES:
                hint = "Give it a port above 1023."
                raise ConfigError("", f"{address}: port {port} is for root alone", hint) from None
            reason = _REASONS.get(error.errno or 0, error.strerror)
    return reason


_REASONS = {
    errno.EADDRINUSE: "the port is in use",
    errno.EADDRNOTAVAIL: "this machine does not have that address",
}
