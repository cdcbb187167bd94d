"""LinkGrid: the parent's end of the streams.

A gRPC server runs on an event loop in a thread of its own; steps are taken there. Whoever uses the
grid (a ServerApp, a Strategy, an edge) runs in another thread and waits for the rest.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from hierfl.errors import LinkError, ParentFailed, RunFailed
from hierfl.link import link_pb2 as pb
from hierfl.link.admission import Admission
from hierfl.link.base_grid import BaseGrid
from hierfl.link.channel_options import HEARTBEAT_S, LONGEST_FRAME
from hierfl.link.enrolment import Enrolment
from hierfl.link.events import Arrival
from hierfl.link.grpc_server import GrpcServer
from hierfl.link.log_throttle import LogThrottle
from hierfl.link.loop import LinkLoop
from hierfl.link.membership import MAX_MISSED
from hierfl.link.message_frame import MessageFrame
from hierfl.link.session import Session
from hierfl.link.steps import ANSWERS
from hierfl.tls.identity import Identity
from hierfl.tls.revocation import RevocationList

log = logging.getLogger(__name__)


class LinkGrid(BaseGrid):
    """Flower's `Grid` over one long-lived gRPC stream per child.

    Requests to a child that is not attached wait for it; the one that was in flight when a stream
    broke is sent again. There is one Flower message in flight per child.

    Args:
        address: "host:port" to listen at; port 0 lets the kernel choose.
        children: names in the topology's order; no other child is admitted.
        quorum: see `BaseGrid`.
        max_missed: see `BaseGrid`.
        plan: fingerprint of the configuration; a child that states another is refused.
        heartbeat: seconds within which a child that has vanished is given up.
        credentials: this node's identity, and children must show theirs; None: plain text.
        revoked: whom it does not let in; None: nobody.
        token: the run's secret, which children must know; "" if there is none.
        loop: the process's event loop for links; None: one of its own.
        enrolment: answers children that have not enrolled yet; None: none need to.
        on_progress: called with (child, progress) from the event loop's thread.
        on_presence: called with (child, attached) from the event loop's thread.
    """

    def __init__(
        self,
        address: str,
        children: Sequence[str],
        *,
        quorum: float = 0.0,
        max_missed: int = MAX_MISSED,
        plan: str = "",
        heartbeat: float = HEARTBEAT_S,
        credentials: Identity | None = None,
        revoked: RevocationList | None = None,
        token: str = "",
        loop: LinkLoop | None = None,
        enrolment: Enrolment | None = None,
        on_progress: Callable[[str, bytes], None] = lambda child, progress: None,
        on_presence: Callable[[str, bool], None] = lambda child, attached: None,
    ) -> None:
        super().__init__(children, quorum, max_missed)
        self._address = address
        self._admission = Admission(
            children, plan, "", token, credentials is not None, heartbeat, revoked
        )
        self._heartbeat = heartbeat
        self._credentials = credentials
        self._enrolment = enrolment
        self._on_progress = on_progress
        self._on_presence = on_presence
        self._sessions = {name: Session(name, node_id) for node_id, name in self.names.items()}
        self._throttle = LogThrottle()
        self._presence = threading.Condition()
        self._aborted = ""
        self._given_loop = loop
        self._loop: LinkLoop | None = None
        self._server: GrpcServer
        self._timer: asyncio.TimerHandle | None = None

    # -- life ------------------------------------------------------------------------------------

    def open(
        self, *, model: str = "", run: str | None = None, max_frame: int = LONGEST_FRAME
    ) -> str:
        """Listen, and return the address with the port that was bound.

        Args:
            model: fingerprint of the model; a child that states another is refused.
            run: the run's identifier; by default a new one.
            max_frame: no longer frame is read, in bytes.

        Raises:
            LinkError: if the address cannot be bound now.
        """
        self._server = GrpcServer(
            self,
            self._sessions,
            replace(self._admission, model=model),
            run=run or uuid.uuid4().hex,
            max_frame=max_frame,
            heartbeat=self._heartbeat,
            credentials=self._credentials,
            enrolment=self._enrolment,
        )
        self._loop = self._given_loop or LinkLoop()
        try:
            return self._loop.run(self._server.open(self._address)).result()
        except BaseException:
            self._leave_loop()
            raise

    def close(self, error: str | None = None, *, interrupted: bool = False) -> None:
        """Say goodbye to the children and stop: the run is done, or failed with `error`.

        Where this node is only interrupted, they are told to come back.
        """
        if self._loop is None:
            return
        if interrupted:
            farewell = pb.Goodbye.BUSY, "the parent was stopped"
        elif error is None:
            farewell = pb.Goodbye.DONE, "the run is done"
        else:
            farewell = pb.Goodbye.FAILED, error
        self._loop.run(self._server.close(*farewell)).result()
        self._leave_loop()

    def _leave_loop(self) -> None:
        if self._loop is not None and self._loop is not self._given_loop:
            self._loop.close()
        self._loop = None

    def __enter__(self) -> LinkGrid:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KeyboardInterrupt):
            self.close(interrupted=True)
        elif isinstance(error, ParentFailed):
            self.close(error.reason)
        else:
            self.close(None if error is None else str(error) or type(error).__name__)

    @property
    def is_open(self) -> bool:
        """Whether the grid listens."""
        return self._loop is not None

    def wait_for_children(self, timeout: float | None = None) -> list[str]:
        """Wait until every child is attached; return those still missing after `timeout` s.

        Raises:
            RunFailed: if `abort` was called.
        """
        with self._presence:
            self._presence.wait_for(lambda: self._aborted or not self.missing(), timeout)
        if self._aborted:
            raise RunFailed(self._aborted)
        return self.missing()

    def abort(self, reason: str) -> None:
        """See `BaseGrid.abort`; who waits for children fails as well."""
        super().abort(reason)
        with self._presence:
            self._aborted = reason
            self._presence.notify_all()

    def missing(self) -> list[str]:
        """Return the names of the children that are not attached now."""
        return [session.name for session in self._sessions.values() if session.outbox is None]

    # -- BaseGrid's transport --------------------------------------------------------------------

    def get_node_ids(self) -> list[int]:
        """Return the node ids of the children that are attached now."""
        return [
            session.node_id for session in self._sessions.values() if session.outbox is not None
        ]

    def is_attached(self, node_id: int) -> bool:
        """See `BaseGrid`; in the event loop."""
        return self._sessions[self.names[node_id]].outbox is not None

    def transmit(self, node_id: int, frame: bytes) -> None:
        """See `BaseGrid`; in the event loop."""
        outbox = self._sessions[self.names[node_id]].outbox
        assert outbox is not None
        outbox.put_nowait(frame)

    def in_exchange(self, function: Callable[..., None], *args: object) -> None:
        """See `BaseGrid`."""
        if self._loop is not None:
            self._loop.call(self._then_wait, function, *args)

    def _send(self, batch: Sequence[tuple[str, str, MessageFrame]]) -> None:
        if batch and self._loop is not None:
            self._loop.call(self._server.send, batch)

    def _forget(self, message_ids: Iterable[str]) -> None:
        if (gone := set(message_ids)) and self._loop is not None:
            self._loop.call(self._server.forget, gone)

    def _dismiss(self, child: str, reason: str, final: bool) -> None:
        if self._loop is not None:
            self._loop.call(self._end_stream, self._sessions[child], reason, final)

    # -- in the event loop -----------------------------------------------------------------------

    def _end_stream(self, session: Session, reason: str, final: bool) -> None:
        if final:
            session.clear()
        session.dismiss(pb.Goodbye.REFUSED if final else pb.Goodbye.BREACH, reason)

    def _then_wait(self, function: Callable[..., None], *args: object) -> None:
        """Call a method of the exchange, and see that its next deadline is kept."""
        function(*args)
        deadline = self._exchange.deadline
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return  # when it rings, the deadline is looked at again
            self._timer.cancel()
            self._timer = None
        if deadline < math.inf:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        due = time.monotonic() >= self._exchange.deadline
        self._then_wait(self._exchange.elapse if due else lambda: None)

    # -- grpc_server.Owner -----------------------------------------------------------------------

    def refusal(self, child: str) -> str | None:
        """See `Owner.refusal`."""
        return self.members.banned.get(child)

    def received(self, session: Session, frame: pb.Frame, size: int) -> None:
        """See `Owner.received`."""
        kind = frame.WhichOneof("kind")
        if kind == "progress":
            self._progress(session.name, frame.progress)
        elif self.members.is_out(session.name):
            return  # it had more to say
        elif kind in ANSWERS:
            self._then_wait(self._exchange.receive, session.node_id, frame, size)
        elif kind == "message":
            session.answered()
            self._inbox.put(Arrival(session.name, frame, size))
        else:
            raise LinkError(f"a frame of the kind {kind} in the middle of the stream")

    def broke(self, child: str, reason: str) -> None:
        """See `Owner.broke`."""
        self.suspend(self._sessions[child].node_id, reason)

    def welcome(self, child: str, known: bool | None) -> None:
        """See `Owner.welcome`."""
        if known is not None:
            self.members.faults.add("reconnects" if known else "restarts")
        self.members.readmit(child)

    def presence(self, session: Session, attached: bool) -> None:
        """See `Owner.presence`."""
        happened = self._exchange.attached if attached else self._exchange.detached
        self._then_wait(happened, session.node_id)
        with self._presence:
            self._presence.notify_all()
        self._on_presence(session.name, attached)

    def turned_away(self) -> None:
        """See `Owner.turned_away`."""
        self.members.faults.add("rejected")

    def _progress(self, child: str, data: bytes) -> None:
        """Pass a child's progress on; what cannot be shown must not stop the votes."""
        try:
            self._on_progress(child, data)
        except Exception:  # it is the child's: it may be anything
            if line := self._throttle.line(child, f"the progress of {child} could not be shown"):
                log.warning("%s", line, exc_info=True)
