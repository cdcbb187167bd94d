"""A parent's streams, one a child, on an event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import grpc
import grpc.aio

from hierfl.errors import LinkError
from hierfl.link import frames, probe
from hierfl.link import link_pb2 as pb
from hierfl.link.admission import ATTACHED, BROKEN, Admission, Context, Refusal
from hierfl.link.bind import bind, serve
from hierfl.link.channel_options import server_options
from hierfl.link.enrolment import Enrolment
from hierfl.link.log_throttle import LogThrottle
from hierfl.link.message_frame import MessageFrame
from hierfl.link.send_window import SMALL, SendWindow
from hierfl.link.session import Outbox, Session
from hierfl.tls.identity import Identity

log = logging.getLogger(__name__)


def _says_something_new(record: logging.LogRecord) -> bool:
    """Whether a line of gRPC's says what the streams do not say themselves.

    It reports, as an error with a traceback, that a child left while its stream's last frame was
    being sent.
    """
    return not (record.exc_info and isinstance(record.exc_info[1], grpc.aio.InternalError))


logging.getLogger("grpc._cython.cygrpc").addFilter(_says_something_new)

GRACE_S = 2.0
"""Seconds that the children have to go when they are told to."""


class Owner(Protocol):
    """Whose children they are. All is called in the event loop."""

    def refusal(self, child: str) -> str | None:
        """Return why a child may not attach, or None."""

    def received(self, session: Session, frame: pb.Frame, size: int) -> None:
        """A child has sent a frame of `size` bytes that is neither hello nor goodbye.

        Raises:
            LinkError: if no child may send it.
        """

    def broke(self, child: str, reason: str) -> None:
        """A child broke the protocol."""

    def welcome(self, child: str, known: bool | None) -> None:
        """A child is about to attach: first (None), in the process known before, or in another."""

    def presence(self, session: Session, attached: bool) -> None:
        """A child is attached now, or is no more."""

    def turned_away(self) -> None:
        """A hello was refused."""


class GrpcServer:
    """A gRPC server that admits the children and keeps one stream with each.

    Everything happens in the event loop in which it is opened.

    Args:
        owner: hears what happens.
        sessions: the children's places, by name.
        admission: what a child must say.
        run: the run's identifier.
        max_frame: no longer frame is read, in bytes.
        heartbeat: seconds within which a child that has vanished is given up.
        credentials: the parent's identity, and children must show theirs; None: plain text.
        enrolment: answers children that have not enrolled yet; None: none need to.
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
        enrolment: Enrolment | None = None,
    ) -> None:
        self._owner = owner
        self._sessions = sessions
        self._admission = admission
        self._run = run
        self._max_frame = max_frame
        self._heartbeat = heartbeat
        self._credentials = credentials
        self._enrolment = enrolment
        self._throttle = LogThrottle()
        self._moves = LogThrottle()  # of children, whose lines strangers cannot use up
        self._window = SendWindow()
        self._streams: set[asyncio.Task[None]] = set()
        self._server: grpc.aio.Server

    async def open(self, address: str) -> str:
        """Listen at "host:port"; return the address with the port that was bound.

        Raises:
            LinkError: if the address cannot be bound now.
        """
        options = server_options(self._max_frame, self._heartbeat, len(self._sessions))
        self._server = grpc.aio.server(options=options)
        serve(self._server, frames.METHOD, grpc.stream_stream_rpc_method_handler(self._attach))
        serve(self._server, probe.METHOD, grpc.unary_unary_rpc_method_handler(self._ask))
        if self._enrolment is not None:
            self._enrolment.serve(self._server)
        secrets = self._credentials.to_children() if self._credentials else None
        address = bind(self._server, address, secrets)
        await self._server.start()
        return address

    async def close(self, code: pb.Goodbye.Code, reason: str) -> None:
        """Say goodbye to all children and stop."""
        for session in self._sessions.values():
            session.dismiss(code, reason)
        await self._server.stop(grace=GRACE_S)
        if self._streams:
            await asyncio.wait(self._streams, timeout=GRACE_S)  # gRPC still ends what it cut

    def send(self, batch: Sequence[tuple[str, str, MessageFrame]]) -> None:
        """Send messages, given as (child, message id, frame), each as soon as it is its turn."""
        for name, message_id, frame in batch:
            self._sessions[name].enqueue(message_id, frame)

    def forget(self, message_ids: Collection[str]) -> None:
        """Drop messages that are not under way yet."""
        for session in self._sessions.values():
            session.drop(message_ids)

    async def _ask(self, data: bytes, context: Context) -> bytes:
        """Say what would be answered to a hello."""
        try:
            self._check_free(self._sessions[self._admission.first(data, context).name])
        except Refusal as refusal:
            return probe.verdict(refusal.code, str(refusal))
        return probe.verdict()

    async def _attach(self, _: object, context: Context) -> None:
        """Serve one stream from its hello to its goodbye."""
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)
        try:
            hello = await self._admission.hello(context)
            session = self._sessions[hello.name]
            self._check_free(session)
        except Refusal as refusal:
            if refusal.code != pb.Goodbye.BUSY:  # who is told to wait is let in later
                self._owner.turned_away()
            line = self._throttle.line(context.peer(), f"turned away {context.peer()}: {refusal}")
            if line is not None:
                log.warning("%s", line)
            with suppress(*BROKEN):
                await context.write(frames.goodbye(refusal.code, str(refusal)))
            return
        outbox = self._admit(session, hello)
        reader = asyncio.create_task(self._listen(session, outbox, context))
        try:
            while (frame := await outbox.get()) is not None:
                if len(frame) <= SMALL:
                    await context.write(bytes(frame))
                else:
                    async with self._window.sending(len(frame)):
                        await context.write(bytes(frame))
        except BROKEN:
            pass  # the child will dial again
        finally:
            reader.cancel()
            if session.outbox is outbox:
                self._set_presence(session, None)

    async def _listen(self, session: Session, outbox: Outbox, context: Context) -> None:
        """Take the child's frames until its stream ends."""
        received, parse, read = self._owner.received, frames.parse, context.read
        try:
            while True:
                data = await read()
                if data is grpc.aio.EOF:
                    break
                received(session, parse(data), len(data))
        except LinkError as error:
            self._owner.broke(session.name, f"it sent {error}")
            return
        except BROKEN:
            pass
        outbox.put_nowait(None)

    def _check_free(self, session: Session) -> None:
        """Raise Refusal if the child may not attach now."""
        if reason := self._owner.refusal(session.name):
            raise Refusal(reason)
        if session.outbox is not None:
            raise Refusal(ATTACHED.format(name=session.name), pb.Goodbye.BUSY)

    def _admit(self, session: Session, hello: pb.Hello) -> Outbox:
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
        self._set_presence(session, outbox, f" at round {hello.round}, decision {hello.applied}")
        return outbox

    def _set_presence(self, session: Session, outbox: Outbox | None, where: str = "") -> None:
        session.outbox = outbox
        what = f"{session.name} is {'detached' if outbox is None else f'attached{where}'}"
        if line := self._moves.line(session.name, what):
            log.info("%s", line)
        self._owner.presence(session, outbox is not None)
