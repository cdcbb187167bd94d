"""A server's port."""

from __future__ import annotations

from typing import Protocol

import grpc

from hierfl.errors import ConfigError


class Server(Protocol):
    """What gRPC's two kinds of servers have in common here."""

    def add_insecure_port(self, address: str) -> int: ...

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int: ...


def bind(server: Server, address: str, credentials: grpc.ServerCredentials | None) -> str:
    """Bind a server to an address; return the address with the port that it has then.

    Args:
        server: not started yet.
        address: "host:port"; port 0 lets the kernel choose.
        credentials: None: plain text.

    Raises:
        ConfigError: if the address cannot be had.
    """
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError as error:  # the reason is in gRPC's own log
        raise cannot_listen(address, error) from error
    return f"{address.rpartition(':')[0]}:{port}"


def cannot_listen(address: str, error: Exception) -> ConfigError:
    """Return the error for an address that cannot be had."""
    return ConfigError(
        "",
        f"cannot listen at {address}: {error}",
        "Is another process using the port? Is the address one of this machine's?",
    )
