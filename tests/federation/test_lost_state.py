"""Files that are lost between the halves of a run: what is said to be lost before is lost after.

A federation that all went down at once goes on from what its nodes have on disk. Where
`recovery.behind` names nobody, the bits are those of the undisturbed run, and no node took a whole
model; where it names nodes, some did.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from clients.client_app import client_app as device_app
from cloud.rounds import Journal
from cloud.state import CloudState
from cloud.strategy import HierStrategy
from edge.client_app import client_app as edge_app
from edge.cluster import Cluster, ClusterSettings
from hierfl.config import CLOUD, load_config
from hierfl.link import link_pb2 as pb
from hierfl.link.memory_grid import MemoryGrid
from hierfl.link.responder import Responder
from hierfl.link.traffic import Faults
from hierfl.planning.plan import make_plan, resolve
from hierfl.protocol.checkpoint_store import CheckpointStore
from hierfl.protocol.vectors import model_hash
from hierfl.runs.recovery import behind
from tests.federation.test_recovery import RUN, SETS, TREE, _context
from tests.federation.toy import LAYOUT, ToyTrainer, cloud_rounds, toy_device

CONFIG = resolve(load_config(None, [*SETS, "algorithm.name=ef-lion", "algorithm.rounds=3"]))
PLAN = make_plan(CONFIG, LAYOUT, 0)
NODES = [*TREE, *(name for members in TREE.values() for name in members)]


class Power(BaseException):
    """It is gone, everywhere at once."""


class Node(Responder):
    """A node that answers so many messages, and then the power goes."""

    left: Iterator[int] | None = None

    def answer(self, frame: pb.Frame) -> bytes:
        if Node.left is not None and next(Node.left, None) is None:
            raise Power
        return super().answer(frame)


class Federation:
    """All nodes of CONFIG, from what they have in a folder."""

    def __init__(self, folder: Path) -> None:
        self.grids: list[MemoryGrid] = []
        edges = {edge: self._edge(folder, edge) for edge in TREE}
        self.grids.append(MemoryGrid(edges, 1.0))
        base, none = np.linspace(-1, 1, LAYOUT.d, dtype=np.float32), np.zeros(0, np.float32)
        files = CheckpointStore(folder, CLOUD).enter(RUN)
        states = [CloudState.first(PLAN.algorithm, base, none)]
        files.restore_last(lambda kept: states.append(CloudState.unpack(kept, PLAN.algorithm)))
        rounds = cloud_rounds(CONFIG, PLAN, self.grids[-1], states[-1], Journal(files, RUN))
        self.strategy = HierStrategy(rounds)

    def _edge(self, folder: Path, edge: str) -> Node:
        devices = {name: self._device(folder, name) for name in TREE[edge]}
        self.grids.append(MemoryGrid(devices, 1.0))
        store = CheckpointStore(folder, edge)
        cluster = Cluster(
            edge, self.grids[-1], ClusterSettings.of(CONFIG), lambda news: None, store
        )
        cluster.join(RUN)
        return Node(edge_app(cluster), _context(), None)

    def _device(self, folder: Path, name: str) -> Node:
        trainer = ToyTrainer(0.1 * len(name), 10 + len(name), LAYOUT)
        device = toy_device(name, CONFIG, PLAN, trainer, CheckpointStore(folder, name))
        device.join(RUN)
        return Node(device_app(device), _context(), device.vote)

    def run(self) -> tuple[str, Faults]:
        strategy = self.strategy
        strategy.start(
            self.grids[-1], strategy.arrays(), num_rounds=CONFIG.algorithm.rounds - strategy.done
        )
        return model_hash(strategy.base), strategy.rounds.finish()[1]


@pytest.fixture(scope="module")
def undisturbed() -> str:
    with TemporaryDirectory() as folder:
        return Federation(Path(folder)).run()[0]


def halves(folder: Path, messages: int) -> None:
    """Run a federation until so many messages are answered."""
    Node.left = iter(range(messages))
    with suppress(Power):
        Federation(folder).run()
    Node.left = None


@pytest.mark.parametrize("messages", range(9, 46, 3))
def test_what_is_said_to_be_lost_is_lost(messages: int, undisturbed: str) -> None:
    seen = set()
    for victim, how in product(NODES, ("newest", "older", "both")):
        with TemporaryDirectory() as name:
            folder = Path(name)
            halves(folder, messages)
            files = CheckpointStore(folder, victim).run(RUN)
            for round_ in {"newest": files.rounds()[-1:], "older": files.rounds()[:-1]}.get(
                how, files.rounds()
            ):
                (folder / RUN / f"{victim}.{round_}.state").write_bytes(b"damaged")
            cloud = CheckpointStore(folder, CLOUD).run(RUN).whole()[-1]
            rounds = {
                node: frozenset(CheckpointStore(folder, node).run(RUN).whole()) for node in NODES
            }
            lost = behind(TREE, cloud, rounds)
            base, faults = Federation(folder).run()
        case = victim, how, lost, cloud, rounds
        assert bool(lost) == bool(faults.lost), case
        if not lost:
            assert base == undisturbed, case
        seen.add(bool(lost))
    if messages > 30:
        assert seen == {True, False}
