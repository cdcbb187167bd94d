"""LinkGrid: the parent's end of the streams.

A gRPC server runs on an event loop in a thread of its own; the loop only moves bytes. Whoever
uses the grid (a ServerApp, a Strategy) runs in another thread and does the work.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc
import grpc.aio

from hierfl.errors import ConfigError, LinkError, ParentFailed
from hierfl.link import envelope
from hierfl.link import link_pb2 as pb
from hierfl.link.door import Door
from hierfl.link.grid import MAX_MISSED, Arrival, Broken, TreeGrid
from hierfl.link.identity import Identity, certified_name
from hierfl.link.transport import HEARTBEAT_S, LONGEST_FRAME, server_options

log = logging.getLogger(__name__)

_Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
_Outbox = asyncio.Queue[bytes | None]
"""Frames to be written; None ends the stream."""

LONGEST_NAME = 64
"""Characters of an unknown peer's name that are shown."""

_BROKEN = (grpc.RpcError, grpc.aio.UsageError, asyncio.InvalidStateError)


@dataclass
class _Seat:
    """One child's place: its stream while it has one, and the requests that wait for it."""

    name: str
    node_id: int
    requests: deque[tuple[str, bytes]] = field(default_factory=deque)
    outbox: _Outbox | None = None
    banned: str | None = None


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
        on_progress: Callable[[str, bytes], None] = lambda child, news: None,
        on_presence: Callable[[str, bool], None] = lambda child, attached: None,
    ) -> None:
        super().__init__(children, quorum, max_missed)
        self._address = address
        self._plan = plan
        self._heartbeat = heartbeat
        self._credentials = credentials
        self._door: Door | None = None
        self._model = ""
        self._run_name = ""
        self._max_frame = 0
        self._on_progress = on_progress
        self._on_presence = on_presence
        self._seats = {name: _Seat(name, node_id) for node_id, name in self.names.items()}
        self._met: dict[str, str] = {}
        self._presence = threading.Condition()
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
        self._model = model
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
        """Wait until every child is attached; return those still missing after `timeout` s."""
        with self._presence:
            self._presence.wait_for(lambda: not self.missing(), timeout)
        return self.missing()

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
        self._loop.call_soon_threadsafe(self._ban, child, reason)

    # -- in the event loop -----------------------------------------------------------------------

    async def _serve(self, bound: Future[str]) -> None:
        self._loop = asyncio.get_running_loop()
        handler = grpc.stream_stream_rpc_method_handler(self._attach)
        service, method = envelope.METHOD.strip("/").split("/")
        server = grpc.aio.server(options=server_options(self._max_frame, self._heartbeat))
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: handler}),)
        )
        try:
            port = self._bind(server)
            await server.start()
        except Exception as error:  # grpc raises RuntimeError, with the reason in its own log
            bound.set_exception(_cannot_listen(self._address, error))
            return
        bound.set_result(f"{self._address.rpartition(':')[0]}:{port}")
        code, reason = await asyncio.wrap_future(self._farewell)
        for seat in self._seats.values():
            if seat.outbox is not None:
                _dismiss(seat.outbox, code, reason)
        await server.stop(grace=2.0)

    def _bind(self, server: grpc.aio.Server) -> int:
        """Return the port at which the server will listen."""
        port: int
        if self._credentials is None:
            port = server.add_insecure_port(self._address)
        else:
            self._door = Door(self._unheard, self._heartbeat)
            credentials = self._credentials.to_children(self._door.knock)
            self._door.port = port = server.add_secure_port(self._address, credentials)
        return port

    def _unheard(self, peer: str) -> None:
        """A connection has come to nothing before there was a stream."""
        self.rejected += 1
        log.warning(
            "turned away %s: it said nothing, or nothing in TLS with a certificate of this CA that "
            "is valid now",
            peer,
        )

    async def _attach(self, _: object, context: _Context) -> None:
        """Serve one stream from its hello to its goodbye."""
        try:
            hello = await self._hello(context)
            seat = self._admit(hello)
        except _Refusal as refusal:
            self.rejected += refusal.code != pb.Goodbye.BUSY  # who is told to wait is let in later
            log.warning("turned away %s: %s", context.peer(), refusal)
            with suppress(*_BROKEN):
                await context.write(envelope.goodbye(refusal.code, str(refusal)))
            return
        outbox = self._sit(seat, hello)
        reader = asyncio.create_task(self._listen(seat, outbox, context))
        try:
            while (frame := await outbox.get()) is not None:
                await context.write(frame)
        except _BROKEN:
            pass  # the child will dial again
        finally:
            reader.cancel()
            self._leave(seat, outbox)

    async def _hello(self, context: _Context) -> pb.Hello:
        """Return the hello that opens a stream, or raise _Refusal."""
        if self._door is not None:
            self._door.enter(context.peer())
        try:
            data: Any = await asyncio.wait_for(context.read(), self._heartbeat)
        except TimeoutError:
            raise _Refusal("it did not say hello in time") from None
        except _BROKEN:
            raise _Refusal("the stream broke before its hello") from None
        if data is grpc.aio.EOF:
            raise _Refusal("the stream ended before its hello")
        try:
            frame = envelope.parse(data)
        except LinkError as error:
            raise _Refusal(f"it sent {error}") from error
        if frame.WhichOneof("kind") != "hello":
            raise _Refusal("the first frame is no hello")
        if self._credentials is not None:
            certified = certified_name(context.auth_context())
            if certified != frame.hello.name:
                raise _Refusal(
                    f"it says it is {_short(frame.hello.name)}, and its certificate says "
                    f"{_short(certified or '')}"
                )
        return frame.hello

    async def _listen(self, seat: _Seat, outbox: _Outbox, context: _Context) -> None:
        """Take the child's frames until its stream ends."""
        try:
            while True:
                data = await context.read()
                if data is grpc.aio.EOF:
                    break
                frame = envelope.parse(data)
                kind = frame.WhichOneof("kind")
                if kind == "message":
                    self._answered(seat)
                    self._inbox.put(Arrival(seat.name, frame.message, len(data)))
                elif kind == "progress":
                    self._watch(seat.name, frame.progress)
                else:
                    raise LinkError(f"a frame of the kind {kind} in the middle of the stream")
        except LinkError as error:
            self._inbox.put(Broken(seat.name, f"it sent {error}"))
            return
        except _BROKEN:
            pass
        outbox.put_nowait(None)

    def _watch(self, name: str, news: bytes) -> None:
        """Show a child's news; news that cannot be shown must not stop the votes."""
        try:
            self._on_progress(name, news)
        except Exception:  # the news are the child's: they may be anything
            log.exception("the news of %s could not be shown", name)

    def _admit(self, hello: pb.Hello) -> _Seat:
        """Return the child's seat, or raise _Refusal."""
        if hello.protocol != envelope.PROTOCOL:
            raise _Refusal(
                f"{_short(hello.name)} speaks version {hello.protocol} of the protocol, "
                f"this node version {envelope.PROTOCOL}: install the same hierfl on both"
            )
        seat = self._seats.get(hello.name)
        if seat is None:
            known = ", ".join(self._seats)
            raise _Refusal(f"no child of this node is called {_short(hello.name)}, only {known}")
        if seat.banned is not None:
            raise _Refusal(seat.banned)
        for what, theirs, ours in (
            ("model", hello.model, self._model),
            ("configuration", hello.plan, self._plan),
        ):
            if theirs and ours and theirs != ours:
                raise _Refusal(
                    f"{hello.name} has another {what} than this federation: "
                    "use the same topology file (and hierfl and model code) on all nodes"
                )
        if seat.outbox is not None:
            raise _Refusal(f"{hello.name} is attached already", pb.Goodbye.BUSY)
        return seat

    def _sit(self, seat: _Seat, hello: pb.Hello) -> _Outbox:
        outbox: _Outbox = asyncio.Queue()
        outbox.put_nowait(
            envelope.welcome(
                run=self._run_name,
                node_id=seat.node_id,
                model=self._model,
                max_frame=self._max_frame,
            )
        )
        if seat.requests:
            outbox.put_nowait(seat.requests[0][1])
        if seat.name in self._met:
            again = self._met[seat.name] == hello.instance
            self.reconnects += again
            self.restarts += not again
        self._met[seat.name] = hello.instance
        self.heard_of(seat.name)
        log.info("%s is at round %d, decision %d", seat.name, hello.round, hello.applied)
        self._set_presence(seat, outbox)
        return outbox

    def _leave(self, seat: _Seat, outbox: _Outbox) -> None:
        if seat.outbox is outbox:
            self._set_presence(seat, None)

    def _set_presence(self, seat: _Seat, outbox: _Outbox | None) -> None:
        with self._presence:
            seat.outbox = outbox
            self._presence.notify_all()
        log.info("%s is %s", seat.name, "away" if outbox is None else "here")
        self._on_presence(seat.name, outbox is not None)

    def _enqueue(self, batch: Sequence[tuple[str, str, bytes]]) -> None:
        for name, message_id, frame in batch:
            seat = self._seats[name]
            seat.requests.append((message_id, frame))
            if len(seat.requests) == 1 and seat.outbox is not None:
                seat.outbox.put_nowait(frame)

    def _answered(self, seat: _Seat) -> None:
        """The request in flight has its reply: send the next one."""
        if not seat.requests:
            raise LinkError("a reply to no request")
        seat.requests.popleft()
        if seat.requests and seat.outbox is not None:
            seat.outbox.put_nowait(seat.requests[0][1])

    def _drop(self, message_ids: set[str]) -> None:
        for seat in self._seats.values():
            under_way = seat.outbox is not None
            seat.requests = deque(
                request
                for position, request in enumerate(seat.requests)
                if request[0] not in message_ids or (position == 0 and under_way)
            )

    def _ban(self, name: str, reason: str) -> None:
        seat = self._seats[name]
        seat.banned = reason
        seat.requests.clear()
        if seat.outbox is not None:
            _dismiss(seat.outbox, pb.Goodbye.REFUSED, reason)


class _Refusal(Exception):
    """A hello that is not answered with a welcome."""

    def __init__(self, reason: str, code: pb.Goodbye.Code = pb.Goodbye.REFUSED) -> None:
        super().__init__(reason)
        self.code = code


def _dismiss(outbox: _Outbox, code: pb.Goodbye.Code, reason: str) -> None:
    outbox.put_nowait(envelope.goodbye(code, reason))
    outbox.put_nowait(None)


def _short(name: str) -> str:
    """Return how a name is shown that has not been checked yet."""
    return repr(name if len(name) <= LONGEST_NAME else name[:LONGEST_NAME] + "...")


def _cannot_listen(address: str, error: Exception) -> ConfigError:
    return ConfigError(
        "",
        f"cannot listen at {address}: {error}",
        "Is another process using the port? Is the address one of this machine's?",
    )
