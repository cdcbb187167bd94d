"""Devices that answer prepared votes: thousands of streams of one process, on one event loop.

What a real device does once a round is done once for all devices of the process: they hold the same
base. Nothing is learnt, and torch is not imported.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import grpc
import grpc.aio
import numpy as np
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from hierfl.codecs import AnyCodec
from hierfl.config.addresses import split
from hierfl.errors import ParentFailed, RunFailed
from hierfl.link import frames
from hierfl.link import link_pb2 as pb
from hierfl.link.admission import BROKEN
from hierfl.link.app_runner import AppRunner
from hierfl.link.base_grid import RUN_ID
from hierfl.link.channel_options import client_options
from hierfl.link.flower_compat import assume_identity
from hierfl.link.traffic import Count
from hierfl.numerics import signs
from hierfl.planning.plan import Plan
from hierfl.protocol.messages import Base, BaseAck, OutOfSync, from_content, reply, round_of
from hierfl.protocol.vectors import model_hash, whole_from_bytes
from hierfl.tls.identity import dial

BALLOTS = 61
"""How many different votes are prepared. Each device casts another one at each step; the number is
prime, so that no usual number of devices casts all of them equally often."""

EXAMPLES = 100
"""How many samples a device says that it holds."""

PAUSE_S = 0.2
"""Seconds, at most, between two attempts of a device to attach."""

LOOK_S = 0.05
"""Seconds between two looks at whether an edge listens."""


class SharedBase:
    """The base at which all devices of a process are.

    Args:
        parameters: d, of the model.
        downlink: decodes the change from base to base.
    """

    def __init__(self, parameters: int, downlink: AnyCodec) -> None:
        self._base = np.zeros(parameters, np.float32)
        self._downlink = downlink
        self._hashes: dict[int, str] = {}

    def take(self, round_: int, base: Base) -> BaseAck | OutOfSync:
        """Go to a round's base, if nobody here is there yet.

        Raises:
            PayloadError: if it is malformed.
        """
        if round_ not in self._hashes:
            if base.model:
                self._base = whole_from_bytes(base.model, self._base.size)
            elif round_ - 1 in self._hashes:
                self._base += self._downlink.decode(base.change)
            else:
                return OutOfSync(max(self._hashes, default=0))
            self._hashes[round_] = model_hash(self._base)
        return BaseAck(self._hashes[round_], EXAMPLES)

    def app(self) -> ClientApp:
        """Return what answers the question of a base, for all devices alike."""
        app = ClientApp()

        @app.train("base")
        def base(message: Message, context: Context) -> Message:
            content = from_content(Base, message.content)
            return reply(message, self.take(round_of(message), content))

        return app


def prepared(parameters: int) -> Callable[[int, int, int], bytes]:
    """Return a function of (round, step, which) that returns the frame of one of `BALLOTS` votes.

    A frame is kept for a while: many devices send the same one.
    """
    draw = np.random.default_rng(parameters)
    votes = [
        signs.pack(draw.standard_normal(parameters, np.float32)).tobytes() for _ in range(BALLOTS)
    ]

    @lru_cache(4 * BALLOTS)
    def frame(round_: int, step: int, which: int) -> bytes:
        ballot = pb.Ballot(round=round_, step=step, ballot=votes[which], loss=0.5)
        return frames.step_answer(ballot)

    return frame


class Parent:
    """An edge, as its devices in this process see it.

    Args:
        address: "host:port".
        options: gRPC's channel options.
    """

    def __init__(self, address: str, options: list[tuple[str, int]]) -> None:
        self.address = address
        self.options = options
        self._look: asyncio.Task[None] | None = None

    async def listening(self) -> None:
        """Wait until it listens; one look serves all devices that wait."""
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._until_listening())
        await self._look

    async def _until_listening(self) -> None:
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(*split(self.address))
                writer.close()
                return
            await asyncio.sleep(LOOK_S)


class PreparedDevice:
    """One device's stream, through as many connections as it takes.

    Args:
        name: the device's name.
        position: which one of the devices it is: says which votes it casts.
        app: answers Flower messages.
        frame: see `prepared`.
        plan: fingerprint of the configuration.
    """

    def __init__(
        self,
        name: str,
        position: int,
        app: ClientApp,
        frame: Callable[[int, int, int], bytes],
        plan: str,
    ) -> None:
        self._name = name
        self._position = position
        context = Context(RUN_ID, 0, {}, RecordDict(), {})
        self._runner = AppRunner(app, context, Count())
        self._frame = frame
        self._plan = plan
        self._run = ""

    async def serve(self, parent: Parent) -> None:
        """Answer until the run is done.

        Raises:
            RunFailed: if the edge refuses it, or says that the run has failed.
        """
        await parent.listening()
        while not await self._session(parent):
            await asyncio.sleep(random.uniform(0, PAUSE_S))
            await parent.listening()

    async def _session(self, parent: Parent) -> bool:
        """Serve one stream; return whether the run is done."""
        with suppress(*BROKEN):
            async with dial(parent.address, parent.options, None, grpc.aio) as channel:
                call = channel.stream_stream(frames.METHOD)()
                await call.write(frames.hello(self._name, run=self._run, model="", plan=self._plan))
                while (done := await self._take(call)) is None:
                    pass
                return done
        return False

    async def _take(self, call: Any) -> bool | None:
        """Answer the next frame; where the stream is over, return whether the run is.

        Nothing of the frame is held while the next one is waited for.
        """
        data = await call.read()
        if data is grpc.aio.EOF:
            return False
        frame = frames.parse(data)
        if frame.WhichOneof("kind") == "goodbye":
            return self._is_done(frame.goodbye)
        if (answer := self._answer(frame)) is not None:
            await call.write(answer)
        return None

    def _answer(self, frame: pb.Frame) -> bytes | None:
        match frame.WhichOneof("kind"):
            case "step_request":
                request = frame.step_request
                which = (self._position + request.step) % BALLOTS
                return self._frame(request.round, request.step, which)
            case "message":
                return self._runner.answer(frame.message)
            case "welcome":
                self._run = frame.welcome.run
        return None

    def _is_done(self, goodbye: pb.Goodbye) -> bool:
        match goodbye.code:
            case pb.Goodbye.DONE:
                return True
            case pb.Goodbye.FAILED:
                raise ParentFailed(goodbye.reason)
            case pb.Goodbye.REFUSED:
                raise RunFailed(f"{self._name} was refused: {goodbye.reason}")
        return False


def serve(
    edges: Mapping[str, Sequence[tuple[int, str]]],
    plan: Plan,
    heartbeat: float,
    began: Callable[[], object] = lambda: None,
) -> None:
    """Be some devices until the run is done.

    Args:
        edges: an edge's address -> the position and the name of each of its devices here.
        plan: what the configuration means for the model.
        heartbeat: seconds within which an edge that has vanished is given up.
        began: called when the first edge listens.

    Raises:
        RunFailed: if an edge refuses a device, or says that the run has failed.
    """
    assume_identity(RUN_ID)
    parameters = plan.algorithm.layout.d
    app, frame = SharedBase(parameters, plan.downlink).app(), prepared(parameters)
    text, options = plan.digest.to_text(), client_options(plan.frame_limit, heartbeat)

    async def attend() -> None:
        parents = {address: Parent(address, options) for address in edges}
        looks = [asyncio.create_task(parent.listening()) for parent in parents.values()]
        await asyncio.wait(looks, return_when=asyncio.FIRST_COMPLETED)
        began()
        async with asyncio.TaskGroup() as group:
            for address, devices in edges.items():
                for position, name in devices:
                    device = PreparedDevice(name, position, app, frame, text)
                    group.create_task(device.serve(parents[address]))

    try:
        asyncio.run(attend())
    except* RunFailed as failed:
        raise failed.exceptions[0] from None
