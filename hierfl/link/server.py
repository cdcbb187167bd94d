"""LinkGrid: the parent's end of the streams.

A gRPC server runs on an event loop in a thread of its own; the loop only moves bytes. Whoever
uses the grid (a ServerApp, a Strategy) runs in another thread and does the work.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace

import grpc
import grpc.aio

from hierfl.errors import ConfigError, LinkError, ParentFailed, RunFailed
from hierfl.link import asking, envelope
from hierfl.link import link_pb2 as pb
from hierfl.link.admission import BROKEN, Admission, Context, Refusal
from hierfl.link.door import Door
from hierfl.link.grid import MAX_MISSED, Arrival, Broken, TreeGrid
from hierfl.link.identity import Identity
from hierfl.link.listening import bind, serve
from hierfl.link.seat import Outbox, Seat
from hierfl.link.transport import HEARTBEAT_S, LONGEST_FRAME, server_options

log = logging.getLogger(__name__)


class LinkGrid(TreeGrid):
    """Flower's `Grid` over one long-lived gRPC stream per child.

    Requests to a child that is not attached wait for it; the one that was in flight when a stream
    broke is sent again. There is one request in flight per child.

    Args:
        address: "host:port" to listen at; port 0 lets the kernel choose.
        children: names in the topology's order; no other child is admitted.
        quorum: see `TreeGrid`.
        max_missed: see `TreeGrid`.
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
        self._door: Door | None = None
        self._run_name = ""
        self._max_frame = 0
        self._on_progress = on_progress
        self._on_presence = on_presence
        self._seats = {name: Seat(name, node_id) for node_id, name in self.names.items()}
        self._presence = threading.Condition()
        self._aborted = ""
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread | None = None
        self._farewell: Future[tuple[pb.Goodbye.Code, str]]

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
        self._admission = replace(self._admission, model=model)
        self._run_name = run or uuid.uuid4().hex
        self._max_frame = max_frame
        bound: Future[str] = Future()
        self._farewell = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(bound)), name="link", daemon=True
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
        """See `TreeGrid.abort`; who waits for children fails as well."""
        super().abort(reason)
        with self._presence:
            self._aborted = reason
            self._presence.notify_all()

    def missing(self) -> list[str]:
        """Return the names of the children that are not attached now."""
        return [seat.name for seat in self._seats.values() if seat.outbox is None]

    # -- TreeGrid's transport --------------------------------------------------------------------

    def get_node_ids(self) -> list[int]:
        """Return the node ids of the children that are attached now."""
        return [seat.node_id for seat in self._seats.values() if seat.outbox is not None]

    def _send(self, batch: Sequence[tuple[str, str, bytes]]) -> None:
        self._loop.call_soon_threadsafe(self._enqueue, batch)

    def _forget(self, message_ids: Iterable[str]) -> None:
        if gone := set(message_ids):
            self._loop.call_soon_threadsafe(self._drop, gone)

    def _part(self, child: str, reason: str) -> None:
        self._loop.call_soon_threadsafe(self._seats[child].ban, reason)

    # -- in the event loop -----------------------------------------------------------------------

    async def _serve(self, bound: Future[str]) -> None:
        self._loop = asyncio.get_running_loop()
        handler = grpc.stream_stream_rpc_method_handler(self._attach)
        server = grpc.aio.server(options=server_options(self._max_frame, self._heartbeat))
        serve(server, envelope.METHOD, handler)
        serve(server, asking.METHOD, grpc.unary_unary_rpc_method_handler(self._ask))
        try:
            address = self._bind(server)
            await server.start()
        except Exception as error:
            bound.set_exception(error)
            return
        bound.set_result(address)
        code, reason = await asyncio.wrap_future(self._farewell)
        for seat in self._seats.values():
            seat.dismiss(code, reason)
        await server.stop(grace=2.0)

    def _bind(self, server: grpc.aio.Server) -> str:
        """Return the address at which the server will listen."""
        if self._credentials is None:
            return bind(server, self._address, None)
        self._door = Door(self._unheard, self._heartbeat)
        address = bind(server, self._address, self._credentials.to_children(self._door.knock))
        self._door.port = int(address.rpartition(":")[2])
        return address

    def _unheard(self, peer: str) -> None:
        """A connection has come to nothing before there was a stream."""
        self.rejected += 1
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
            self._seats[self._admission.admitted(data, context).name].check_free()
        except Refusal as refusal:
            return asking.verdict(refusal.code, str(refusal))
        return asking.verdict()

    async def _attach(self, _: object, context: Context) -> None:
        """Serve one stream from its hello to its goodbye."""
        if self._door is not None:
            self._door.enter(context.peer())
        try:
            hello = await self._admission.hello(context)
            seat = self._seats[hello.name]
            seat.check_free()
        except Refusal as refusal:
            self.rejected += refusal.code != pb.Goodbye.BUSY  # who is told to wait is let in later
            log.warning("turned away %s: %s", context.peer(), refusal)
            with suppress(*BROKEN):
                await context.write(envelope.goodbye(refusal.code, str(refusal)))
            return
        outbox = self._sit(seat, hello)
        reader = asyncio.create_task(self._listen(seat, outbox, context))
        try:
            while (frame := await outbox.get()) is not None:
                await context.write(frame)
        except BROKEN:
            pass  # the child will dial again
        finally:
            reader.cancel()
            self._leave(seat, outbox)

    async def _listen(self, seat: Seat, outbox: Outbox, context: Context) -> None:
        """Take the child's frames until its stream ends."""
        try:
            while True:
                data = await context.read()
                if data is grpc.aio.EOF:
                    break
                frame = envelope.parse(data)
                kind = frame.WhichOneof("kind")
                if kind == "message":
                    seat.answered()
                    self._inbox.put(Arrival(seat.name, frame.message, len(data)))
                elif kind == "progress":
                    self._watch(seat.name, frame.progress)
                else:
                    raise LinkError(f"a frame of the kind {kind} in the middle of the stream")
        except LinkError as error:
            self._inbox.put(Broken(seat.name, f"it sent {error}"))
            return
        except BROKEN:
            pass
        outbox.put_nowait(None)

    def _watch(self, name: str, news: bytes) -> None:
        """Show a child's news; news that cannot be shown must not stop the votes."""
        try:
            self._on_progress(name, news)
        except Exception:  # the news are the child's: they may be anything
            log.exception("the news of %s could not be shown", name)

    def _sit(self, seat: Seat, hello: pb.Hello) -> Outbox:
        outbox: Outbox = asyncio.Queue()
        outbox.put_nowait(
            envelope.welcome(
                run=self._run_name,
                node_id=seat.node_id,
                model=self._admission.model,
                max_frame=self._max_frame,
            )
        )
        seat.fill(outbox)
        if seat.instance is not None:
            again = seat.instance == hello.instance
            self.reconnects += again
            self.restarts += not again
        seat.instance = hello.instance
        self.heard_of(seat.name)
        log.info("%s is at round %d, decision %d", seat.name, hello.round, hello.applied)
        self._set_presence(seat, outbox)
        return outbox

    def _leave(self, seat: Seat, outbox: Outbox) -> None:
        if seat.outbox is outbox:
            self._set_presence(seat, None)

    def _set_presence(self, seat: Seat, outbox: Outbox | None) -> None:
        with self._presence:
            seat.outbox = outbox
            self._presence.notify_all()
        log.info("%s is %s", seat.name, "away" if outbox is None else "here")
        self._on_presence(seat.name, outbox is not None)

    def _enqueue(self, batch: Sequence[tuple[str, str, bytes]]) -> None:
        for name, message_id, frame in batch:
            self._seats[name].enqueue(message_id, frame)

    def _drop(self, message_ids: set[str]) -> None:
        for seat in self._seats.values():
            seat.drop(message_ids)
