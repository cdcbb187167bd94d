"""Crashes in a federation in memory: any nodes, after any number of messages, in any combination.

A crash here loses everything but the checkpoints: the node is built anew, and the message that it
was working on is delivered again, as the link does when a child comes back.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, RecordDict
from flwr.clientapp import ClientApp
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.client_app import client_app as device_app
from cloud.state import CloudState
from cloud.strategy import HierStrategy
from edge.client_app import client_app as edge_app
from edge.cluster import Cluster, ClusterSettings
from hierfl.config import load_config
from hierfl.link import link_pb2 as pb
from hierfl.link.memory_grid import MemoryGrid
from hierfl.link.responder import Responder, Vote
from hierfl.numerics.layout import Layout
from hierfl.planning.plan import make_plan, resolve
from hierfl.protocol.checkpoint_store import CheckpointStore
from hierfl.protocol.vectors import model_hash
from tests.federation.toy import LAYOUT, ToyTrainer, cloud_rounds, toy_device

RUN = "run"
TREE = {"east": ("east-0", "east-1"), "west": ("west-0",)}
SETS = ["algorithm.edge_steps=3", "algorithm.rounds=3", "edges.0.devices=2", "edges.1.devices=1"]


class Crash(BaseException):
    """The process is gone: nothing in it may catch this."""


class Node(Responder):
    """A child that is built anew after a crash.

    Args:
        build: returns the node's app, fresh from its checkpoints, and what answers its steps.
        crashes: message number to how: "before" the work on it, or "after" it, before the reply.
    """

    def __init__(
        self, build: Callable[[], tuple[ClientApp, Vote | None]], crashes: dict[int, str]
    ) -> None:
        self._build = build
        self._crashes = crashes
        self._seen = 0
        self.restarts = 0
        self._start()

    def _start(self) -> None:
        app, vote = self._build()
        super().__init__(app, _context(), vote)

    def answer(self, frame: pb.Frame) -> bytes:
        while True:
            self._seen += 1
            how = self._crashes.pop(self._seen, None)
            try:
                if how == "before":
                    raise Crash
                reply = super().answer(frame)
                if how == "after":
                    raise Crash
                return reply
            except Crash:
                self.crash()

    def crash(self) -> None:
        """Lose everything that is not on disk."""
        self.restarts += 1
        self._start()


class DeviceNode(Node):
    """A device whose crash may take its edge with it: the machine went down."""

    machine: Callable[[], None] | None = None

    def crash(self) -> None:
        super().crash()
        if self.machine is not None:
            raise Crash


def toy_trainer(name: str) -> ToyTrainer:
    return ToyTrainer(0.1 * len(name), 10 + len(name), LAYOUT)


def run(
    crashes: dict[str, dict[int, str]],
    machine: bool,
    sets: list[str],
    folder: Path,
    trainer_of: Callable[[str], Any] = toy_trainer,
    layout: Layout = LAYOUT,
) -> tuple[str, int]:
    """Run a federation; return the last base's hash and the number of restarts."""
    config = resolve(load_config(None, [*SETS, *sets]))
    plan = make_plan(config, layout, 0)
    nodes: list[Node] = []
    edges = {}
    for edge, members in TREE.items():
        devices = {}
        for name in members:

            def build(name: str = name) -> tuple[ClientApp, Vote]:
                store = CheckpointStore(folder, name)
                device = toy_device(name, config, plan, trainer_of(name), store)
                device.join(RUN)
                return device_app(device), device.vote

            devices[name] = DeviceNode(build, crashes.get(name, {}))
            devices[name].machine = (lambda: None) if machine else None

        def build_edge(
            edge: str = edge, devices: dict[str, DeviceNode] = devices
        ) -> tuple[ClientApp, None]:
            grid = MemoryGrid(devices, config.quorum.devices)
            cluster = Cluster(
                edge,
                grid,
                ClusterSettings.of(config),
                lambda news: None,
                CheckpointStore(folder, edge),
            )
            cluster.join(RUN)
            return edge_app(cluster), None

        edges[edge] = Node(build_edge, crashes.get(edge, {}))
        nodes += [*devices.values(), edges[edge]]
    grid = MemoryGrid(edges, config.quorum.edges)
    base = np.linspace(-1, 1, layout.d, dtype=np.float32)
    state = CloudState.first(plan.algorithm, base, np.zeros(0, np.float32))
    strategy = HierStrategy(cloud_rounds(config, plan, grid, state))
    strategy.start(grid, strategy.arrays(), num_rounds=config.algorithm.rounds)
    strategy.rounds.finish()
    return model_hash(strategy.base), sum(node.restarts for node in nodes)


NAMES = [*TREE, *(name for members in TREE.values() for name in members)]
MOMENTS = st.dictionaries(st.integers(1, 16), st.sampled_from(["before", "after"]), max_size=3)


@pytest.mark.parametrize(
    "sets",
    [
        [], ["algorithm.tie=keep"], ["algorithm.name=hier-sgd"], ["algorithm.name=ef-lion"],
        ["algorithm.name=dc-hier-signsgd"],
        ["algorithm.name=ef-lion", "algorithm.participation=0.5", "algorithm.rounds=5"],
        ["algorithm.name=dc-hier-signsgd", "algorithm.participation=0.5", "algorithm.rounds=5"],
        ["algorithm.name=ef-fedavg", "algorithm.participation=0.5", "algorithm.rounds=5"],
        ["algorithm.name=ef-lion", "algorithm.options.aggregation=trust", "algorithm.rounds=5"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("machine", [False, True], ids=["process", "machine"])
def test_crashes_change_no_bit(sets: list[str], machine: bool) -> None:
    with TemporaryDirectory() as folder:
        expected, _ = run({}, False, sets, Path(folder))

    survived = 0

    @settings(max_examples=25, derandomize=True)
    @given(st.dictionaries(st.sampled_from(NAMES), MOMENTS, min_size=1, max_size=3))
    def check(crashes: dict[str, dict[int, str]]) -> None:
        nonlocal survived
        with TemporaryDirectory() as folder:
            copies = {name: dict(moments) for name, moments in crashes.items()}
            base, restarts = run(copies, machine, sets, Path(folder))
        assert base == expected
        survived += restarts

    check()
    assert survived > 10


def _context() -> Context:
    return Context(1, 0, {}, RecordDict(), {})
