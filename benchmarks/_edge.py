"""An edge whose devices compute nothing: real decisions and links, and the time they take."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from deploy.loadtest.devices import serve
from deploy.loadtest.load import plan_of
from deploy.loadtest.meter import StepClock
from edge.cluster import Cluster, ClusterSettings
from hierfl.algorithms.schedule import to_bits
from hierfl.config import load_config
from hierfl.link.channel_options import HEARTBEAT_S
from hierfl.link.link_grid import LinkGrid
from hierfl.link.loop import LinkLoop
from hierfl.numerics.layout import Layout
from hierfl.planning.plan import resolve
from hierfl.protocol.messages import Base

PARAMETERS = 100_000
SIZE = PARAMETERS // 8


class BenchedEdge:
    """A cluster of devices in processes of their own, which answer at once.

    Args:
        loop: the process's event loop for links.
        devices: how many there are.
        processes: in how many processes they are.
        steps: the steps of a round.
        module: the module that is run as `devices ADDRESS NAME...` and calls `answer`.
    """

    def __init__(
        self, loop: LinkLoop, devices: int, processes: int, steps: int, module: str
    ) -> None:
        names = [f"device-{i}" for i in range(devices)]
        self._grid = LinkGrid("127.0.0.1:0", names, quorum=1.0, loop=loop)
        self._clock = StepClock(self._grid)
        address = self._grid.open()
        self._processes = [
            start(module, "devices", address, *names[i::processes]) for i in range(processes)
        ]
        if missing := self._grid.wait_for_children(120):
            raise SystemExit(f"{len(missing)} devices did not attach")
        sets = [f"algorithm.edge_steps={steps}", "algorithm.rounds=1000"]
        settings = ClusterSettings.of(resolve(load_config(None, sets)))
        self._cluster = Cluster("edge", self._grid, settings, _say_nothing)
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
        marks = self._clock.marks[1:]
        seconds = [b - a for (a, _), (b, _) in pairwise(marks)]
        return seconds, marks[-1][1] - marks[0][1]

    def close(self) -> None:
        """End the run."""
        self._grid.close()
        for process in self._processes:
            process.wait(60)


def _say_nothing(news: object) -> None:
    """Take progress that nobody shows."""


def answer(address: str, names: Sequence[str]) -> None:
    """Be some devices of an edge, which answer with prepared votes."""
    devices = [(int(name.rpartition("-")[2]), name) for name in names]
    serve({address: devices}, plan_of(resolve(load_config(None)), PARAMETERS), HEARTBEAT_S)


def start(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a process that runs a module."""
    return subprocess.Popen([sys.executable, "-m", module, *arguments])
