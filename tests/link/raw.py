"""Peers that speak broken protocol: a child and a parent that send whatever they are told to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

import grpc

from hierfl.link import frames
from hierfl.link import link_pb2 as pb
from hierfl.tls.identity import Towards
from tests.link.trees import LIMIT_S


class RawChild:
    """A gRPC client that sends bytes and reads frames."""

    def __init__(self, address: str, *first: bytes, credentials: Towards | None = None) -> None:
        self._outbox: SimpleQueue[bytes | None] = SimpleQueue()
        options = [("grpc.use_local_subchannel_pool", 1)]
        if credentials is None:
            self._channel = grpc.insecure_channel(address, options)
        else:
            self._channel = credentials.channel(address, options, grpc)
        attach = self._channel.stream_stream(frames.METHOD)
        self._call: Any = attach(iter(self._outbox.get, None), timeout=LIMIT_S)
        for data in first:
            self.send(data)

    def send(self, data: bytes) -> None:
        self._outbox.put(data)

    def read(self) -> pb.Frame:
        """Return the next frame; grpc.RpcError if the stream broke, StopIteration at its end."""
        return frames.parse(next(self._call))

    def welcomed(self) -> pb.Welcome:
        """Return the welcome that must come now."""
        frame = self.read()
        assert frame.WhichOneof("kind") == "welcome", frame
        return frame.welcome

    def dismissed(self) -> pb.Goodbye:
        """Return the goodbye that must come now, and see the stream end after it."""
        frame = self.read()
        assert frame.WhichOneof("kind") == "goodbye", frame
        assert next(self._call, None) is None
        return frame.goodbye

    def finish(self) -> None:
        """Say that nothing more will come."""
        self._outbox.put(None)

    def close(self) -> None:
        self._outbox.put(None)
        self._channel.close()

    def __enter__(self) -> RawChild:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def hello(name: str, **changes: Any) -> bytes:
    """Return a hello, with some fields other than they should be."""
    fields = {"name": name, "protocol": frames.PROTOCOL, **changes}
    return pb.Frame(hello=pb.Hello(**fields)).SerializeToString()


class RawParent:
    """A gRPC server that sends bytes to whoever attaches.

    Args:
        script: is handed the child's frames, and yields what to send.
    """

    def __init__(self, script: Callable[[Iterator[bytes]], Iterator[bytes]]) -> None:
        def attach(received: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            yield from script(received)

        service, method = frames.METHOD.strip("/").split("/")
        handler = {method: grpc.stream_stream_rpc_method_handler(attach)}
        self._pool = ThreadPoolExecutor(2, "raw parent")
        self._server = grpc.server(self._pool)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, handler),)
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def __enter__(self) -> RawParent:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(0).wait(LIMIT_S)
        self._pool.shutdown()


class Wire:
    """A TCP connection's middle: it passes bytes on to a target, until it is cut.

    What dials `address` does not notice which target it reaches.

    Attributes:
        heard: what has come from those that dialled.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.heard = bytearray()
        self._open: list[socket.socket] = []
        self._silent: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, name="wire", daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        """Break every connection there is."""
        with self._lock:
            for end in self._open:
                _shut(end)
            self._open.clear()

    def vanish(self) -> None:
        """Let nothing more through on the connections there are, and close none of them."""
        with self._lock:
            self._silent += self._open

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            host, _, port = self.target.rpartition(":")
            try:
                far = socket.create_connection((host, int(port)))
            except OSError:
                near.close()
                continue
            with self._lock:
                self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                heard = self.heard if source is near else bytearray()
                thread = threading.Thread(
                    target=self._pump, args=(source, sink, heard), name="wire"
                )
                thread.daemon = True
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, heard: bytearray) -> None:
        with source, sink:
            with suppress(OSError):
                while data := source.recv(1 << 16):
                    heard += data
                    if source not in self._silent:
                        sink.sendall(data)
            # Closing alone would not do: the other pump may be reading from the same socket.
            _shut(sink)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        _shut(self._listener)
        self._threads[0].join(LIMIT_S)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(LIMIT_S)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
