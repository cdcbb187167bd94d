"""LinkGrid: the parent's end of the streams.

A gRPC server runs on an event loop in a thread of its own; the loop only moves bytes. Whoever
uses the grid (a ServerApp, a Strategy) runs in another thread and does the work.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace

from hierfl.errors import ConfigError, ParentFailed, RunFailed
from hierfl.link import link_pb2 as pb
from hierfl.link.admission import Admission
from hierfl.link.base_grid import MAX_MISSED, Arrival, BaseGrid, Broken
from hierfl.link.channel_options import HEARTBEAT_S, LONGEST_FRAME
from hierfl.link.grpc_server import Farewell, GrpcServer
from hierfl.link.session import Session
from hierfl.tls.identity import Identity

log = logging.getLogger(__name__)


class LinkGrid(BaseGrid):
    """Flower's `Grid` over one long-lived gRPC stream per child.

    Requests to a child that is not attached wait for it; the one that was in flight when a stream
    broke is sent again. There is one request in flight per child.

    Args:
        address: "host:port" to listen at; port 0 lets the kernel choose.
        children: names in the topology's order; no other child is admitted.
        quorum: see `BaseGrid`.
        max_missed: see `BaseGrid`.
        plan: fingerprint of the configuration; a child that states another is refused.
        heartbeat: seconds within which a child that has vanished is given up.
        credentials: this node's identity, and children must show theirs; None: plain text.
        token: the run's secret, which children must know; "" if there is none.
        on_progress: called with (child, news) from the event loop's thread.
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
        token: str = "",
        on_progress: Callable[[str, bytes], None] = lambda child, news: None,
        on_presence: Callable[[str, bool], None] = lambda child, attached: None,
    ) -> None:
        super().__init__(children, quorum, max_missed)
        self._address = address
        self._admission = Admission(
            children, plan, "", token, certified=credentials is not None, patience=heartbeat
        )
        self._heartbeat = heartbeat
        self._credentials = credentials
        self._on_progress = on_progress
        self._on_presence = on_presence
        self._sessions = {name: Session(name, node_id) for node_id, name in self.names.items()}
        self._presence = threading.Condition()
        self._aborted = ""
        self._server: GrpcServer
        self._thread: threading.Thread | None = None
        self._farewell: Future[Farewell]

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
            ConfigError: if the address cannot be bound.
        """
        self._server = GrpcServer(
            self,
            self._sessions,
            replace(self._admission, model=model),
            run=run or uuid.uuid4().hex,
            max_frame=max_frame,
            heartbeat=self._heartbeat,
            credentials=self._credentials,
        )
        bound: Future[str] = Future()
        self._farewell = Future()
        self._thread = threading.Thread(
            target=self._server.run,
            args=(self._address, bound, self._farewell),
            name="link",
            daemon=True,
        )
        self._thread.start()
        try:
            return bound.result()
        except ConfigError:
            self._thread.join()
            self._thread = None
            raise

    def close(self, error: str | None = None, *, interrupted: bool = False) -> None:
        """Say goodbye to the children and stop: the run is done, or failed with `error`.

        Where this node is only interrupted, they are told to come back.
        """
        if self._thread is None:
            return
        if interrupted:
            farewell = pb.Goodbye.BUSY, "the parent was stopped"
        elif error is None:
            farewell = pb.Goodbye.DONE, "the run is done"
        else:
            farewell = pb.Goodbye.FAILED, error
        self._farewell.set_result(farewell)
        self._thread.join()
        self._thread = None

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
        return self._thread is not None

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

    def _send(self, batch: Sequence[tuple[str, str, bytes]]) -> None:
        self._server.send(batch)

    def _forget(self, message_ids: Iterable[str]) -> None:
        if gone := set(message_ids):
            self._server.forget(gone)

    def _part(self, child: str, reason: str) -> None:
        self._server.ban(child, reason)

    # -- what the streams tell -------------------------------------------------------------------

    def deliver(self, item: Arrival | Broken) -> None:
        """See `Owner.deliver`."""
        self._inbox.put(item)

    def welcome(self, child: str, known: bool | None) -> None:
        """See `Owner.welcome`."""
        self.reconnects += known is True
        self.restarts += known is False
        self.heard_of(child)

    def presence(self, child: str, attached: bool) -> None:
        """See `Owner.presence`."""
        with self._presence:
            self._presence.notify_all()
        self._on_presence(child, attached)

    def news(self, child: str, data: bytes) -> None:
        """See `Owner.news`; news that cannot be shown must not stop the votes."""
        try:
            self._on_progress(child, data)
        except Exception:  # the news are the child's: they may be anything
            log.exception("the news of %s could not be shown", child)

    def turned_away(self) -> None:
        """See `Owner.turned_away`."""
        self.rejected += 1
