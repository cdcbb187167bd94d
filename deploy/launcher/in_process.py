"""A whole federation in one process: the same algorithm, messages and bits, without sockets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flwr.app import Context, RecordDict

from clients.client_app import client_app as device_app
from clients.device import Device, DeviceSettings
from cloud.server_app import server_app
from cloud.views.base import EdgeProgress, View
from edge.client_app import client_app as edge_app
from edge.cluster import Cluster, ClusterSettings
from hierfl.config import CLOUD, Config
from hierfl.learning.loaded import load_all
from hierfl.learning.setup import first_model, judging, make_trainer
from hierfl.learning.trainer import Trainer
from hierfl.link.base_grid import RUN_ID
from hierfl.link.memory_grid import MemoryGrid
from hierfl.link.responder import Responder
from hierfl.planning.plan import Plan, make_plan


def run_memory(config: Config, out: Path, view: View) -> None:
    """Run all nodes of a resolved configuration in this process.

    Raises:
        HierflError: for a failure that the user can correct.
    """
    held, facts = load_all(config)
    data = held[CLOUD]
    model, test = first_model(config, data, facts), judging(config, data, facts)
    plan = make_plan(config, model.layout, model.buffer_layout.d)
    trainers = {
        name: make_trainer(config, name, held[name], facts)
        for names in config.tree().values()
        for name in names
    }
    edges = {
        edge: Responder(edge_app(_cluster(config, plan, edge, trainers, view)), _context())
        for edge in config.tree()
    }
    app = server_app(config, plan, data.task, model, test, out, view)
    app(MemoryGrid(edges, config.quorum.edges), _context())


def _cluster(
    config: Config, plan: Plan, edge: str, trainers: Mapping[str, Trainer], view: View
) -> Cluster:
    devices = {}
    for name in config.tree()[edge]:
        device = Device(name, DeviceSettings.of(config), plan, trainers[name])
        devices[name] = Responder(device_app(device), _context(), device.vote)
    grid = MemoryGrid(devices, config.quorum.devices)
    return Cluster(
        edge, grid, ClusterSettings.of(config), lambda news: view.handle(EdgeProgress(edge, news))
    )


def _context() -> Context:
    return Context(RUN_ID, 0, {}, RecordDict(), {})
