"""A federation small enough to compute by hand: quadratic losses, in memory, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from flwr.app import Context, RecordDict

from clients.client_app import client_app as device_app
from clients.device import Device, DeviceSettings
from cloud.result import RoundResult
from cloud.rounds import Journal, Rounds
from cloud.state import CloudState
from cloud.strategy import HierStrategy
from edge.client_app import client_app as edge_app
from edge.cluster import Cluster, ClusterSettings
from hierfl.algorithms.schedule import Schedule
from hierfl.config import Config, load_config
from hierfl.link.base_grid import BaseGrid
from hierfl.link.memory_grid import MemoryGrid
from hierfl.link.responder import Responder
from hierfl.link.traffic import Faults, Traffic
from hierfl.numerics.layout import Layout
from hierfl.planning.plan import Plan, make_plan, resolve
from hierfl.protocol.checkpoint_store import CheckpointStore
from hierfl.protocol.evaluated import Evaluated
from hierfl.protocol.progress import Progress
from hierfl.protocol.weighing import Weighing

LAYOUT = Layout(("matrix", "bias"), ((5, 7), (6,)))


class ToyModel:
    """What a device and the cloud need of a model."""

    def __init__(self, layout: Layout, buffers: int = 0) -> None:
        self.layout = layout
        self.buffer_layout = Layout(("statistics",), ((buffers,),))
        self.weights = np.zeros(layout.d, np.float32)
        self.gradient = np.zeros(layout.d, np.float32)
        self.statistics = np.zeros(buffers, np.float32)

    def buffers(self) -> np.ndarray:
        return self.statistics.copy()

    def set_buffers(self, flat: np.ndarray) -> None:
        self.statistics = flat.copy()


class ToyTrainer:
    """The gradient of |w - target|^2 / 2, plus noise from the step's generator.

    Attributes:
        poison: (round, step) of the call, counted from 1 over the run, whose gradient is NaN.
    """

    def __init__(self, target: float, examples: int, layout: Layout, buffers: int = 0) -> None:
        self.model = ToyModel(layout, buffers)
        self.examples = examples
        self.target = np.float32(target)
        self.poison: set[int] = set()
        self.calls = 0

    def gradient(self, generator: np.random.Generator) -> float:
        self.calls += 1
        noise = generator.standard_normal(self.model.layout.d, np.float32)
        self.model.gradient[:] = self.model.weights - self.target + noise
        if self.calls in self.poison:
            self.model.gradient[3] = np.nan
        self.model.statistics += self.examples
        return float(np.mean(self.model.gradient**2))

    def keep(self) -> bytes:
        return b""

    def restore(self, kept: bytes) -> None:
        assert not kept

    def judge(self, metric: str) -> Evaluated:
        loss = float(np.mean((self.model.weights.astype(np.float64) - self.target) ** 2))
        sums = {"examples": np.array(float(self.examples)), metric: np.array(loss * self.examples)}
        return Evaluated(sums, loss)


@dataclass
class Toy:
    """A whole tree in memory.

    Attributes:
        config: resolved.
        plan: what it means for the toys' model.
        trainers: by device.
        devices: by name.
        results: one a round.
        grids: by edge.
    """

    config: Config
    plan: Plan
    trainers: dict[str, ToyTrainer]
    devices: dict[str, Device]
    grid: MemoryGrid
    strategy: HierStrategy
    results: list[RoundResult]
    news: list[Progress] = field(default_factory=list)
    grids: dict[str, MemoryGrid] = field(default_factory=dict)

    def run(self) -> tuple[Traffic, Faults]:
        """Run all rounds."""
        self.strategy.start(
            self.grid,
            self.strategy.arrays(),
            num_rounds=self.config.algorithm.rounds,
            timeout=self.config.quorum.round_timeout,
        )
        return self.strategy.rounds.finish()


def toy(
    sets: Sequence[str] = (),
    *,
    targets: Mapping[str, float] | None = None,
    examples: Mapping[str, int] | None = None,
    layout: Layout = LAYOUT,
    buffers: int = 0,
) -> Toy:
    """Build the default tree (east-0..2, west-0..2) over toy trainers."""
    config = resolve(load_config(None, ["algorithm.edge_steps=4", "algorithm.rounds=3", *sets]))
    names = [device for devices in config.tree().values() for device in devices]
    trainers = {
        name: ToyTrainer(
            (targets or {}).get(name, 0.5), (examples or {}).get(name, 10), layout, buffers
        )
        for name in names
    }
    plan = make_plan(config, layout, buffers)
    devices = {name: toy_device(name, config, plan, trainers[name]) for name in names}
    results: list[RoundResult] = []
    news: list[Progress] = []
    edges, grids = {}, {}
    for edge, members in config.tree().items():
        children = {
            name: Responder(device_app(devices[name]), _context(), devices[name].vote)
            for name in members
        }
        grids[edge] = MemoryGrid(children, config.quorum.devices)
        cluster = Cluster(edge, grids[edge], ClusterSettings.of(config), news.append)
        edges[edge] = Responder(edge_app(cluster), _context())
    grid = MemoryGrid(edges, config.quorum.edges)
    base = np.linspace(-1, 1, layout.d, dtype=np.float32)
    first = np.zeros(buffers, np.float32)
    state = CloudState.first(plan.algorithm, base, first)
    strategy = HierStrategy(cloud_rounds(config, plan, grid, state), results.append)
    return Toy(config, plan, trainers, devices, grid, strategy, results, news, grids)


def toy_device(
    name: str, config: Config, plan: Plan, trainer: ToyTrainer, store: CheckpointStore | None = None
) -> Device:
    """Return a device whose trainer is a toy."""
    return Device(name, DeviceSettings.of(config), plan, trainer, store)  # type: ignore[arg-type]


def cloud_rounds(
    config: Config, plan: Plan, grid: BaseGrid, state: CloudState, journal: Journal | None = None
) -> Rounds:
    """Return the cloud's rounds as its ServerApp makes them."""
    settings = config.algorithm
    assert settings.lr is not None
    schedule = Schedule(settings.schedule, settings.lr, settings.rounds)
    timeout = config.quorum.round_timeout
    weighing = Weighing.of_edges(config, grid.names)
    return Rounds(plan, grid, state, schedule, weighing, timeout, journal or Journal())


def _context() -> Context:
    return Context(1, 0, {}, RecordDict(), {})
