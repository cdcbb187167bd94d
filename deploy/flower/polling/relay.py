"""From a short-lived ClientApp to the edge's ServerApp on the same machine, over a Unix socket.

Each of the cloud's messages reaches a new process at the edge; the cluster lives in another one.
"""

from __future__ import annotations

import socket as sockets
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from hierfl.errors import LinkError
from hierfl.link.bind import bind, serve

METHOD = "/hierfl.link.v1.Relay/Ask"
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def place(token: str, name: str) -> Path:
    """Return the path of an edge's socket in a run; it holds the run's token, a secret.

    It is short: the kernel allows 107 bytes.
    """
    return Path(tempfile.gettempdir()) / f"hierfl-{token}" / f"{name[:32]}.sock"


def is_open(socket: Path) -> bool:
    """Return whether somebody listens there."""
    with sockets.socket(sockets.AF_UNIX) as probe:
        try:
            probe.connect(str(socket))
        except OSError:
            return False
    return True


class Relay:
    """The ServerApp's end: answers one request at a time.

    Args:
        socket: where it listens; its folder is made, for this user alone.
        answer: what answers.
    """

    def __init__(self, socket: Path, answer: Callable[[bytes], bytes]) -> None:
        self._socket = socket
        socket.parent.mkdir(mode=0o700, exist_ok=True)
        socket.unlink(missing_ok=True)
        self._server = grpc.server(ThreadPoolExecutor(1), options=OPTIONS)
        handler = grpc.unary_unary_rpc_method_handler(lambda request, context: answer(request))
        serve(self._server, METHOD, handler)
        bind(self._server, f"unix:{socket}", None)

    def __enter__(self) -> Relay:
        self._server.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.stop(grace=2.0).wait()
        self._socket.unlink(missing_ok=True)


def ask(socket: Path, request: bytes, patience: float) -> bytes:
    """Return the ServerApp's answer.

    Args:
        socket: where it listens, or will soon.
        request: what it is asked.
        patience: seconds to wait for it to listen; an answer takes what it takes.

    Raises:
        LinkError: nobody answers there.
    """
    deadline = time.monotonic() + patience
    while not socket.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    with grpc.insecure_channel(f"unix:{socket}", OPTIONS) as channel:
        try:
            answer: bytes = channel.unary_unary(METHOD)(request)
            return answer
        except grpc.RpcError as error:
            raise LinkError(f"the edge's own run does not answer: {error.details()}") from None
