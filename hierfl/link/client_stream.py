"""One stream from a child to its parent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

import grpc
import grpc.aio

from hierfl.errors import LinkError
from hierfl.link import frames
from hierfl.link import link_pb2 as pb
from hierfl.link.admission import BROKEN
from hierfl.link.loop import LinkLoop
from hierfl.tls.identity import Towards, dial

AHEAD = 4
"""Frames that are read while one is worked on. A goodbye is among the first of them: it must have
been read before an answer fails because the parent has ended the stream."""


class ParentBreach(Exception):
    """The parent broke the protocol: what it sent."""


class ClientStream:
    """A stream of which steps are answered on the event loop, all else in the thread that iterates.

    One frame is worked on at a time: the loop reads no further while the thread is at work.

    Args:
        loop: where the stream runs.
        answer_step: answers a step's request with a frame.
    """

    def __init__(self, loop: LinkLoop, answer_step: Callable[[pb.StepRequest], bytes]) -> None:
        self._loop = loop
        self._answer_step = answer_step
        self._inbox: SimpleQueue[pb.Frame | None] = SimpleQueue()
        self._answer: bytes | None = None
        self._done: Future[None] | None = None
        self._call: Any = None
        self._broken: Exception | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._worked: asyncio.Future[bytes | None]
        self._writing: asyncio.Lock

    def frames(
        self, address: str, options: list[tuple[str, Any]], towards: Towards | None, hello: bytes
    ) -> Iterator[pb.Frame]:
        """Open the stream with a hello, and yield all that is no step's request until it ends.

        Raises:
            grpc.RpcError: if the stream broke.
            ParentBreach: if the parent sent what is no frame, or a step's request to a node that
                votes on none.
        """
        self._done = self._loop.run(self._serve(address, options, towards, hello))
        self._done.add_done_callback(lambda _: self._inbox.put(None))
        while (frame := self._inbox.get()) is not None:
            self._answer = None
            yield frame
            self._loop.call(self._go_on, self._answer)
        self._done.result()

    def answer(self, frame: bytes) -> None:
        """Answer the frame that was yielded last."""
        self._answer = frame

    def send(self, frame: bytes) -> None:
        """Send a frame that answers nothing; any thread may. It is lost if the stream is broken."""
        self._loop.call(self._send, frame)

    def close(self) -> None:
        """End the stream."""
        if self._done is not None:
            self._done.cancel()

    # -- on the loop -----------------------------------------------------------------------------

    async def _serve(
        self, address: str, options: list[tuple[str, Any]], towards: Towards | None, hello: bytes
    ) -> None:
        self._writing = asyncio.Lock()
        received: asyncio.Queue[Any] = asyncio.Queue(AHEAD)
        async with dial(address, options, towards, grpc.aio) as channel:
            self._call = channel.stream_stream(frames.METHOD)()
            reader = asyncio.create_task(self._read(received))
            try:
                await self._write(hello)
                while (data := await received.get()) is not grpc.aio.EOF:
                    if (answer := await self._work(_parsed(data))) is not None:
                        await self._write(answer)
                if self._broken is not None:
                    raise self._broken
            finally:
                reader.cancel()
                self._call = None

    async def _read(self, received: asyncio.Queue[Any]) -> None:
        """Read until the stream ends or breaks."""
        read, put = self._call.read, received.put
        try:
            while (data := await read()) is not grpc.aio.EOF:
                await put(data)
        except Exception as error:
            self._broken = error
        await put(grpc.aio.EOF)

    async def _work(self, frame: pb.Frame) -> bytes | None:
        if frame.WhichOneof("kind") == "step_request":
            try:
                return self._answer_step(frame.step_request)
            except ValueError as error:
                raise ParentBreach(str(error)) from error
        self._worked = asyncio.get_running_loop().create_future()
        self._inbox.put(frame)
        return await self._worked

    def _go_on(self, answer: bytes | None) -> None:
        if not self._worked.done():
            self._worked.set_result(answer)

    async def _write(self, frame: bytes) -> None:
        """Write a frame; where the stream is broken, the reader finds out why."""
        async with self._writing:
            with suppress(*BROKEN):
                await self._call.write(frame)

    def _send(self, frame: bytes) -> None:
        if self._call is not None:
            task = asyncio.create_task(self._write(frame))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)


def _parsed(data: bytes) -> pb.Frame:
    try:
        return frames.parse(data)
    except LinkError as error:
        raise ParentBreach(str(error)) from error
