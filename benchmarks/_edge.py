"""An edge whose devices compute nothing: real decisions and links, and the time they take."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from edge.cluster import Cluster
from hierfl.algorithms.schedule import to_bits
from hierfl.config import load_config
from hierfl.link import link_pb2 as pb
from hierfl.link.client import LinkClient
from hierfl.link.link_grid import LinkGrid
from hierfl.link.loop import LinkLoop
from hierfl.link.step_run import StepRun
from hierfl.link.steps import StepRound
from hierfl.numerics.layout import Layout
from hierfl.planning.plan import resolve
from hierfl.protocol.messages import Base, BaseAck, from_content, reply

PARAMETERS = 100_000
SIZE = PARAMETERS // 8


class TimedGrid(LinkGrid):
    """Notes when each step begins and ends.

    Attributes:
        marks: the time, and the process's processor time so far, at the round's start and at the
            end of each of its steps, s.
    """

    marks: list[tuple[float, float]]

    def steps(self, round_: StepRound, timeout: float) -> StepRun:
        """See `BaseGrid.steps`."""
        marks, close = [_now()], round_.close

        def timed_close() -> bool:
            more = close()
            marks.append(_now())
            return more

        round_.close = timed_close  # type: ignore[method-assign]
        self.marks = marks
        return super().steps(round_, timeout)


class BenchedEdge:
    """A cluster of devices in processes of their own, which answer at once.

    Args:
        loop: the process's event loop for links.
        devices: how many there are.
        processes: in how many processes they are.
        steps: the steps of a round.
        module: the module that is run as `devices ADDRESS NAME...` and calls `answer_steps`.
    """

    def __init__(
        self, loop: LinkLoop, devices: int, processes: int, steps: int, module: str
    ) -> None:
        names = [f"device-{i}" for i in range(devices)]
        self._grid = TimedGrid("127.0.0.1:0", names, quorum=1.0, loop=loop)
        address = self._grid.open()
        self._processes = [
            start(module, "devices", address, *names[i::processes]) for i in range(processes)
        ]
        if missing := self._grid.wait_for_children(120):
            raise SystemExit(f"{len(missing)} devices did not attach")
        sets = [f"algorithm.edge_steps={steps}", "algorithm.rounds=1000"]
        self._cluster = Cluster("edge", self._grid, resolve(load_config(None, sets)), _say_nothing)
        self._round = 0

    def round(self) -> tuple[list[float], float]:
        """Take a round.

        Returns:
            the seconds of each step but the first, and the processor time of all of these, s.
        """
        self._round += 1
        layout = Layout(("w",), ((PARAMETERS,),))
        whole = bytes(4 * PARAMETERS) if self._round == 1 else b""
        change = b"" if whole else bytes(SIZE + 4)
        shape = layout.to_json() if whole else ""
        base = Base(to_bits(np.float32(0.001)), change, whole, shape)
        self._cluster.move(self._round, base)
        self._cluster.run(self._round, b"")
        marks = self._grid.marks[1:]
        seconds = [b - a for (a, _), (b, _) in pairwise(marks)]
        return seconds, marks[-1][1] - marks[0][1]

    def close(self) -> None:
        """End the run."""
        self._grid.close()
        for process in self._processes:
            process.wait(60)


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _say_nothing(news: object) -> None:
    """Take progress that nobody shows."""


def answer_steps(address: str, names: Sequence[str]) -> None:
    """Be some devices: say yes to each base, and answer each request with the same ballot."""
    with LinkLoop() as loop:
        threads = [
            threading.Thread(target=LinkClient(address, name, _app(), _vote(), loop=loop).serve)
            for name in names
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _app() -> ClientApp:
    app, hashed = ClientApp(), [hashlib.sha256(bytes(4 * PARAMETERS)).hexdigest()]

    @app.train("base")
    def base(message: Message, context: Context) -> Message:
        from_content(Base, message.content)
        return reply(message, BaseAck(hashed[0], 100))

    return app


def _vote() -> Callable[[pb.StepRequest], pb.Ballot]:
    bits = np.random.default_rng(1).bytes(SIZE)

    def vote(request: pb.StepRequest) -> pb.Ballot:
        return pb.Ballot(round=request.round, step=request.step, ballot=bits, loss=0.5)

    return vote


def start(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a process that runs a module."""
    return subprocess.Popen([sys.executable, "-m", module, *arguments])
