"""What a gRPC server answers, and at which port."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import grpc

from hierfl.errors import ConfigError


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
        ConfigError: if the address cannot be had.
    """
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError as error:  # the reason is in gRPC's own log
        raise ConfigError(
            "",
            f"cannot listen at {address}: {error}",
            "Is another process using the port? Is the address one of this machine's?",
        ) from error
    return f"{address.rpartition(':')[0]}:{port}"
