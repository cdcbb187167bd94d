"""A parent's streams, one a child, on an event loop that only moves bytes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Protocol

import grpc
import grpc.aio

from hierfl.errors import LinkError
from hierfl.link import frames, probe
from hierfl.link import link_pb2 as pb
from hierfl.link.admission import BROKEN, Admission, Context, Refusal
from hierfl.link.base_grid import Arrival, Broken
from hierfl.link.bind import bind, serve
from hierfl.link.channel_options import server_options
from hierfl.link.door import Door
from hierfl.link.session import Outbox, Session
from hierfl.tls.identity import Identity

log = logging.getLogger(__name__)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line of gRPC's says what the streams do not say themselves.

    It reports, as an error with a traceback, that a child left while its stream's last word was
    being sent.
    """
    return not (record.exc_info and isinstance(record.exc_info[1], grpc.aio.InternalError))


logging.getLogger("grpc._cython.cygrpc").addFilter(_is_news)

GRACE_S = 2.0
"""Seconds that the children have to go when they are told to."""

Farewell = tuple[pb.Goodbye.Code, str]
"""The last word to all children."""


class Owner(Protocol):
    """Whose children they are. All is called in the event loop's thread."""

    def deliver(self, item: Arrival | Broken) -> None:
        """A child has answered, or broken the protocol."""

    def welcome(self, child: str, known: bool | None) -> None:
        """A child is about to attach: first (None), in the process known before, or in another."""

    def presence(self, child: str, attached: bool) -> None:
        """A child is attached now, or is no more."""

    def news(self, child: str, data: bytes) -> None:
        """A child tells its news."""

    def turned_away(self) -> None:
        """A peer was not let in."""


class GrpcServer:
    """A gRPC server that admits the children and keeps one stream with each.

    Args:
        owner: hears what happens.
        sessions: the children's places, by name.
        admission: what a child must say.
        run: the run's identifier.
        max_frame: no longer frame is read, in bytes.
        heartbeat: seconds within which a child that has vanished is given up.
        credentials: the parent's identity, and children must show theirs; None: plain text.
    """

    def __init__(
        self,
        owner: Owner,
        sessions: Mapping[str, Session],
        admission: Admission,
        *,
        run: str,
        max_frame: int,
        heartbeat: float,
        credentials: Identity | None,
    ) -> None:
        self._owner = owner
        self._sessions = sessions
        self._admission = admission
        self._run = run
        self._max_frame = max_frame
        self._heartbeat = heartbeat
        self._credentials = credentials
        self._door: Door | None = None
        self._loop: asyncio.AbstractEventLoop

    def run(self, address: str, bound: Future[str], farewell: Future[Farewell]) -> None:
        """Serve, in this thread.

        Args:
            address: "host:port" to listen at; port 0 lets the kernel choose.
            bound: is given the address with the port that was bound, or what kept it from that.
            farewell: once it is there, it is said to all, and that is the end.
        """
        asyncio.run(self._serve(address, bound, farewell))

    # -- from any thread -------------------------------------------------------------------------

    def send(self, batch: Sequence[tuple[str, str, bytes]]) -> None:
        """Send requests, given as (child, message id, frame), each as soon as it is its turn."""
        self._loop.call_soon_threadsafe(self._enqueue, batch)

    def forget(self, message_ids: Collection[str]) -> None:
        """Drop requests that are not under way yet."""
        self._loop.call_soon_threadsafe(self._drop, message_ids)

    def ban(self, child: str, reason: str) -> None:
        """Send a child away for good."""
        self._loop.call_soon_threadsafe(self._sessions[child].ban, reason)

    # -- in the event loop -----------------------------------------------------------------------

    async def _serve(self, address: str, bound: Future[str], farewell: Future[Farewell]) -> None:
        self._loop = asyncio.get_running_loop()
        server = grpc.aio.server(options=server_options(self._max_frame, self._heartbeat))
        serve(server, frames.METHOD, grpc.stream_stream_rpc_method_handler(self._attach))
        serve(server, probe.METHOD, grpc.unary_unary_rpc_method_handler(self._ask))
        try:
            address = self._bind(server, address)
            await server.start()
        except Exception as error:
            bound.set_exception(error)
            return
        bound.set_result(address)
        code, reason = await asyncio.wrap_future(farewell)
        for session in self._sessions.values():
            session.dismiss(code, reason)
        await server.stop(grace=GRACE_S)
        if rest := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(rest, timeout=GRACE_S)  # gRPC still ends the calls that it cut

    def _bind(self, server: grpc.aio.Server, address: str) -> str:
        """Return the address at which the server will listen."""
        if self._credentials is None:
            return bind(server, address, None)
        self._door = Door(self._unheard, self._heartbeat)
        address = bind(server, address, self._credentials.to_children(self._door.knock))
        self._door.port = int(address.rpartition(":")[2])
        return address

    def _unheard(self, peer: str) -> None:
        """A connection has come to nothing before there was a stream."""
        self._owner.turned_away()
        log.warning(
            "turned away %s: it said nothing, or nothing in TLS with a certificate of this CA that "
            "is valid now",
            peer,
        )

    async def _ask(self, data: bytes, context: Context) -> bytes:
        """Say what would become of a hello."""
        if self._door is not None:
            self._door.enter(context.peer())
        try:
            self._sessions[self._admission.admitted(data, context).name].check_free()
        except Refusal as refusal:
            return probe.verdict(refusal.code, str(refusal))
        return probe.verdict()

    async def _attach(self, _: object, context: Context) -> None:
        """Serve one stream from its hello to its goodbye."""
        if self._door is not None:
            self._door.enter(context.peer())
        try:
            hello = await self._admission.hello(context)
            session = self._sessions[hello.name]
            session.check_free()
        except Refusal as refusal:
            if refusal.code != pb.Goodbye.BUSY:  # who is told to wait is let in later
                self._owner.turned_away()
            log.warning("turned away %s: %s", context.peer(), refusal)
            with suppress(*BROKEN):
                await context.write(frames.goodbye(refusal.code, str(refusal)))
            return
        outbox = self._sit(session, hello)
        reader = asyncio.create_task(self._listen(session, outbox, context))
        try:
            while (frame := await outbox.get()) is not None:
                await context.write(frame)
        except BROKEN:
            pass  # the child will dial again
        finally:
            reader.cancel()
            if session.outbox is outbox:
                self._set_presence(session, None)

    async def _listen(self, session: Session, outbox: Outbox, context: Context) -> None:
        """Take the child's frames until its stream ends."""
        try:
            while True:
                data = await context.read()
                if data is grpc.aio.EOF:
                    break
                frame = frames.parse(data)
                kind = frame.WhichOneof("kind")
                if kind == "message":
                    session.answered()
                    self._owner.deliver(Arrival(session.name, frame.message, len(data)))
                elif kind == "progress":
                    self._owner.news(session.name, frame.progress)
                else:
                    raise LinkError(f"a frame of the kind {kind} in the middle of the stream")
        except LinkError as error:
            self._owner.deliver(Broken(session.name, f"it sent {error}"))
            return
        except BROKEN:
            pass
        outbox.put_nowait(None)

    def _sit(self, session: Session, hello: pb.Hello) -> Outbox:
        outbox: Outbox = asyncio.Queue()
        outbox.put_nowait(
            frames.welcome(
                run=self._run,
                node_id=session.node_id,
                model=self._admission.model,
                max_frame=self._max_frame,
            )
        )
        session.fill(outbox)
        known = None if session.instance is None else session.instance == hello.instance
        session.instance = hello.instance
        self._owner.welcome(session.name, known)
        log.info("%s is at round %d, decision %d", session.name, hello.round, hello.applied)
        self._set_presence(session, outbox)
        return outbox

    def _set_presence(self, session: Session, outbox: Outbox | None) -> None:
        session.outbox = outbox
        log.info("%s is %s", session.name, "away" if outbox is None else "here")
        self._owner.presence(session.name, outbox is not None)

    def _enqueue(self, batch: Sequence[tuple[str, str, bytes]]) -> None:
        for name, message_id, frame in batch:
            self._sessions[name].enqueue(message_id, frame)

    def _drop(self, message_ids: Collection[str]) -> None:
        for session in self._sessions.values():
            session.drop(message_ids)
