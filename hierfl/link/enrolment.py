"""Enrolment: each child says what data it holds, and is told what all nodes hold together.

It takes place before the links open, at the same addresses. The parent goes on answering while the
run goes on, for children that start again or late. What is said are bytes here; what they mean
knows `hierfl.protocol.enrolment`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

import grpc
import grpc.aio

from hierfl.errors import ParentFailed
from hierfl.link import frames, probe
from hierfl.link import link_pb2 as pb
from hierfl.link.admission import BROKEN, Admission, Context, Refusal
from hierfl.link.bind import Server, bind, serve
from hierfl.link.channel_options import HEARTBEAT_S, server_options
from hierfl.link.log_throttle import LogThrottle
from hierfl.link.loop import LinkLoop
from hierfl.tls.identity import Identity
from hierfl.tls.revocation import RevocationList

log = logging.getLogger(__name__)

METHOD = "/hierfl.link.v1.Enrolment/Enrol"

LONGEST = 4 << 20
"""Bytes of a request or an answer: the names of many thousand classes."""

GRACE_S = 2.0
"""Seconds that answers have to leave."""

Judge = Callable[[str, bytes], str]


class Enrolment:
    """What the children of one parent have said, and what they are told. Any thread may use it.

    Args:
        admission: what a child must say besides.
    """

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._throttle = LogThrottle()
        self._changed = threading.Condition()
        self._waiting: dict[str, tuple[bytes, Future[pb.EnrolReply]]] = {}
        self._whole: tuple[bytes, Judge] | None = None
        self._farewell: pb.Goodbye | None = None

    # -- the parent ------------------------------------------------------------------------------

    def wait(self, ready: Callable[[Mapping[str, bytes]], bool], timeout: float) -> bool:
        """Wait until those that are here are enough; return whether they are.

        Args:
            ready: is given what each child has said that waits for an answer.
            timeout: seconds.
        """
        with self._changed:
            return self._changed.wait_for(lambda: ready(self._said()), timeout)

    def said(self) -> dict[str, bytes]:
        """Return what each child has said that waits for an answer."""
        with self._changed:
            return self._said()

    def refuse(self, child: str, said: bytes, reason: str) -> None:
        """Turn a child away for what it has said; it may come again."""
        log.warning("turned away %s: %s", child, reason)
        with self._changed:
            if child in self._waiting and self._waiting[child][0] == said:
                _settle(self._waiting.pop(child)[1], _refused(reason))

    def answer(self, whole: bytes, judge: Judge) -> None:
        """Answer all that wait, and from now on whoever comes.

        Args:
            whole: what all nodes hold together.
            judge: is given (child, what it has said); returns why it is turned away, or "".
        """
        with self._changed:
            self._whole = whole, judge
            for child, (said, waiting) in self._waiting.items():
                _settle(waiting, self._final(child, said))
            self._waiting.clear()

    def end(self, code: pb.Goodbye.Code, reason: str) -> None:
        """Say goodbye to all that wait, and to whoever comes."""
        with self._changed:
            self._farewell = pb.Goodbye(code=code, reason=reason)
            for _, waiting in self._waiting.values():
                _settle(waiting, pb.EnrolReply(goodbye=self._farewell))
            self._waiting.clear()

    def _said(self) -> dict[str, bytes]:
        return {child: said for child, (said, _) in self._waiting.items()}

    # -- the children ----------------------------------------------------------------------------

    def serve(self, server: Server) -> None:
        """Let a server of `grpc.aio` answer the children."""
        serve(server, METHOD, grpc.unary_unary_rpc_method_handler(self._enrol))

    async def _enrol(self, data: bytes, context: Context) -> bytes:
        await context.send_initial_metadata(())
        try:
            request = _parsed(data)
            hello = self._admission.admitted(request.hello, context)
        except Refusal as refusal:
            if line := self._throttle.line(
                context.peer(), f"turned away {context.peer()}: {refusal}"
            ):
                log.warning("%s", line)
            return _refused(str(refusal), refusal.code).SerializeToString()
        reply = self._enter(hello.name, request.facts)
        if isinstance(reply, Future):
            log.info("%s has enrolled", hello.name)
            try:
                reply = await asyncio.wrap_future(reply)
            finally:
                self._leave(hello.name, reply)
        return reply.SerializeToString()

    def _enter(self, child: str, said: bytes) -> pb.EnrolReply | Future[pb.EnrolReply]:
        """Return the answer to a child, or what will be it."""
        with self._changed:
            if self._farewell is not None:
                return pb.EnrolReply(goodbye=self._farewell)
            if self._whole is not None:
                return self._final(child, said)
            if not said:
                return pb.EnrolReply()
            if child in self._waiting:  # its process has started again
                again = pb.Goodbye(code=pb.Goodbye.BUSY, reason=f"{child} has enrolled again")
                _settle(self._waiting[child][1], pb.EnrolReply(goodbye=again))
            waiting: Future[pb.EnrolReply] = Future()
            self._waiting[child] = said, waiting
            self._changed.notify_all()
            return waiting

    def _leave(self, child: str, reply: object) -> None:
        """A child waits no more: it was answered, or its connection is lost."""
        with self._changed:
            if child in self._waiting and self._waiting[child][1] is reply:
                log.info("%s has gone before it was answered", child)
                del self._waiting[child]
                self._changed.notify_all()

    def _final(self, child: str, said: bytes) -> pb.EnrolReply:
        assert self._whole is not None
        whole, judge = self._whole
        if said and (reason := judge(child, said)):
            if line := self._throttle.line(child, f"turned away {child}: {reason}"):
                log.warning("%s", line)
            return _refused(reason)
        return pb.EnrolReply(facts=whole)


class EnrolServer:
    """Serves an enrolment until the link opens at the same address.

    What ends it early is told to the children; to a parent that was interrupted they come back.

    Args:
        address: "host:port" to listen at; port 0 lets the kernel choose.
        children: names in the topology's order; no other child is heard.
        plan: fingerprint of the configuration; a child that states another is refused.
        heartbeat: seconds within which a child that has vanished is given up.
        credentials: this node's identity, and children must show theirs; None: plain text.
        revoked: whose certificates are no good; None: nobody's.
        token: the run's secret, which children must know; "" if there is none.
        loop: where it is served.

    Attributes:
        enrolment: answers the children, here and once the link is open.
        address: while it is entered, with the port that was bound.
    """

    def __init__(
        self,
        address: str,
        children: Sequence[str],
        *,
        loop: LinkLoop,
        plan: str = "",
        heartbeat: float = HEARTBEAT_S,
        credentials: Identity | None = None,
        revoked: RevocationList | None = None,
        token: str = "",
    ) -> None:
        certified = credentials is not None
        self._admission = Admission(children, plan, "", token, certified, heartbeat, revoked)
        self.enrolment = Enrolment(self._admission)
        self.address = address
        self._loop = loop
        self._heartbeat = heartbeat
        self._credentials = credentials
        self._server: grpc.aio.Server

    def __enter__(self) -> EnrolServer:
        self.address = self._loop.run(self._open()).result()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        match error:
            case None:
                pass
            case KeyboardInterrupt():
                self.enrolment.end(pb.Goodbye.BUSY, "the parent was stopped")
            case ParentFailed():
                self.enrolment.end(pb.Goodbye.FAILED, error.reason)
            case _:
                self.enrolment.end(pb.Goodbye.FAILED, str(error) or type(error).__name__)
        self._loop.run(self._server.stop(GRACE_S)).result()

    async def _open(self) -> str:
        options = server_options(LONGEST, self._heartbeat, len(self._admission.children))
        self._server = server = grpc.aio.server(options=options)
        self.enrolment.serve(server)
        serve(server, frames.METHOD, grpc.stream_stream_rpc_method_handler(self._attach))
        serve(server, probe.METHOD, grpc.unary_unary_rpc_method_handler(self._ask))
        secrets = self._credentials.to_children() if self._credentials else None
        address = bind(server, self.address, secrets)
        await server.start()
        return address

    async def _attach(self, _: object, context: Context) -> None:
        """Tell a child that would attach to wait."""
        try:
            hello = await self._admission.hello(context)
            said = pb.Goodbye.BUSY, f"{hello.name} must wait until all nodes have enrolled"
        except Refusal as refusal:
            said = refusal.code, str(refusal)
        with suppress(*BROKEN):
            await context.write(frames.goodbye(*said))

    async def _ask(self, data: bytes, context: Context) -> bytes:
        """Say what would be answered to a hello."""
        try:
            self._admission.first(data, context)
        except Refusal as refusal:
            return probe.verdict(refusal.code, str(refusal))
        return probe.verdict()


def _parsed(data: bytes) -> pb.EnrolRequest:
    try:
        if len(data) <= LONGEST:
            return pb.EnrolRequest.FromString(data)
    except Exception as error:  # protobuf's DecodeError has no common public base
        raise Refusal(f"it sent {len(data)} bytes that enrol nobody") from error
    raise Refusal(f"it sent {len(data)} bytes to enrol, of {LONGEST} at most")


def _refused(reason: str, code: pb.Goodbye.Code = pb.Goodbye.REFUSED) -> pb.EnrolReply:
    return pb.EnrolReply(goodbye=pb.Goodbye(code=code, reason=reason))


def _settle(waiting: Future[pb.EnrolReply], reply: pb.EnrolReply) -> None:
    with suppress(InvalidStateError):  # its connection was lost at this moment
        waiting.set_result(reply)
