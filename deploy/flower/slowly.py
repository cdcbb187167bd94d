"""`link = "flower"`: both tiers on Flower's own messages, where no port may be opened.

The cloud's ServerApp asks each edge who it is; the edge's ClientApp submits the app to the edge's
SuperLink, whose ServerApp asks the devices. From then on each question of the direct run travels
as a Flower message of its own, and reaches a new process: a device's goes on from what the last
one left on disk, an edge's asks the ServerApp on the same machine.
"""

from __future__ import annotations

import json
import secrets
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from flwr.app import Context, RecordDict
from flwr.serverapp import Grid

from clients.client_app import client_app as device_app
from clients.device import Device
from cloud.main import Held, train
from cloud.plain import Plain
from cloud.view import Harmless
from deploy.flower.cloud import check_devices
from deploy.flower.joining import Invitation, Node, state_folder
from deploy.flower.relay import Relay, ask, place
from deploy.flower.settings import Gathering, Value, topology
from deploy.flower.tunnel import Tunnel, ask_all, from_content
from deploy.flower.usher import gather, nodes
from edge.client_app import client_app as edge_app
from edge.cluster import Cluster
from hierfl.checkpoint import Checkpoints
from hierfl.config import CLOUD, Config, read_config
from hierfl.errors import RunFailed
from hierfl.folder import claim
from hierfl.learning.setup import load_data, make_trainer
from hierfl.learning.threads import one_thread
from hierfl.link import envelope
from hierfl.link import link_pb2 as pb
from hierfl.link.child import Child
from hierfl.link.flower import assume_identity
from hierfl.link.grid import RUN_ID
from hierfl.plan import resolve

WHO = "query.who"
IDLE_S = 600.0
"""Seconds without a question after which an edge takes the run for dead."""


def cloud(grid: Grid, own: Gathering, run_config: Mapping[str, Value]) -> None:
    """Run the federation whose edges are the nodes of this SuperLink.

    Raises:
        HierflError: whatever a person can put right.
    """
    token, begin = secrets.token_hex(16), time.monotonic()
    found = _who(grid, Invitation(CLOUD, "", token, own.wait), own.edges, own.wait, "edges")
    seconds = time.monotonic() - begin
    there = {name: facts["devices"] for name, (_, facts) in found.items()}
    check_devices(own, there)
    edges = [{"name": name, "devices": devices} for name, devices in there.items()]
    config = resolve(topology(run_config, {"edges": edges}))
    folder = claim(config, Path(own.out) if own.out else None)
    one_thread()
    held = Held.of(config, folder)
    settings = config.algorithm
    messages = settings.rounds * (settings.edge_steps + 3) + 1
    print(
        f"link = flower: each of about {messages} messages, one after the other, takes seconds "
        f"(asking who is there took {seconds:.0f} s); link = stream takes milliseconds",
        flush=True,
    )
    node_ids = {name: node_id for name, (node_id, _) in found.items()}
    view = Harmless(Plain(config, folder, sys.stdout))
    with Tunnel(grid, node_ids, config.quorum.edges, config.to_yaml(), held.run, token) as tunnel:
        train(config, folder, view, held, tunnel)


def edge(grid: Grid, own: Gathering, home: Path) -> None:
    """Be the edge that the cloud's messages ask, through the ClientApps on this machine.

    Raises:
        HierflError: whatever a person can put right.
    """
    token = secrets.token_hex(16)
    found = _who(grid, Invitation(own.node, "", token, own.wait), own.devices, own.wait, "devices")
    devices = {name: node_id for name, (node_id, _) in found.items()}
    with ExitStack() as stack:
        serving = _Serving(grid, own.node, devices, home, stack)
        stack.enter_context(Relay(place(own.token, own.node), serving.answer))
        serving.wait()


class _Serving:
    """An edge's cluster, once the first question has said what federation it is part of."""

    def __init__(
        self, grid: Grid, name: str, devices: Mapping[str, int], home: Path, stack: ExitStack
    ) -> None:
        self._grid = grid
        self._name = name
        self._devices = dict(devices)
        self._home = home
        self._stack = stack
        self._child: Child | None = None
        self._questions: SimpleQueue[bool] = SimpleQueue()
        self._over = threading.Event()

    def wait(self) -> None:
        """Wait for the end of the run; a question may take as long as it takes.

        Raises:
            RunFailed: if nothing is asked for long.
        """
        open_questions = 0
        while not self._over.is_set():
            try:
                begins = self._questions.get(timeout=None if open_questions else IDLE_S)
            except Empty:
                raise RunFailed(f"the cloud has asked nothing for {IDLE_S:.0f} s") from None
            open_questions += 1 if begins else -1

    def answer(self, data: bytes) -> bytes:
        """Answer who the devices are, or a frame."""
        self._questions.put(True)
        try:
            return self._answer(data)
        finally:
            self._questions.put(False)

    def _answer(self, data: bytes) -> bytes:
        if not data:
            return json.dumps(list(self._devices)).encode()
        asked = pb.Tunnelled.FromString(data)
        if asked.over:
            self._over.set()
            return b""
        if self._child is None:
            self._child = self._open(asked)
        return self._child.answer(envelope.parse(asked.frame).message)

    def _open(self, asked: pb.Tunnelled) -> Child:
        config = read_config(asked.config)
        order = {name: self._devices[name] for name in config.tree()[self._name]}
        tunnel = Tunnel(self._grid, order, config.quorum.devices, asked.config, asked.run)
        self._stack.enter_context(tunnel)
        checkpoints = Checkpoints(state_folder(self._home, config), self._name)
        cluster = Cluster(self._name, tunnel, config, lambda news: None, checkpoints)
        cluster.join(asked.run)
        return _child(edge_app(cluster), self._name)


def who(node: Node, invitation: Invitation, start: Any) -> dict[str, Any]:
    """Return who this node is; an edge's run is started first.

    Args:
        node: this one.
        invitation: the parent's.
        start: submits the app to an edge's own SuperLink.
    """
    if "superlink" not in node.config:
        return {"name": node.name}
    start(node, invitation)
    devices = ask(place(invitation.token, node.name), b"", invitation.wait)
    return {"name": node.name, "devices": json.loads(devices)}


def frame(context: Context, data: bytes, home: Path) -> bytes:
    """Return the frame that answers a frame."""
    asked = pb.Tunnelled.FromString(data)
    node = Node.of(context, asked.name)
    if "superlink" in node.config:
        return ask(place(asked.token, node.name), data, 0.0)
    return device_frame(node, asked, home)


def device_frame(node: Node, asked: pb.Tunnelled, home: Path) -> bytes:
    """Go on from what the process before has left, answer, and leave it to the next one."""
    if asked.over:
        return b""
    one_thread()
    config: Config = node.local(asked.config)
    trainer = make_trainer(config, node.name, load_data(config))
    folder = state_folder(home, config)
    device = Device(node.name, config, trainer, Checkpoints(folder, node.name))
    device.join(asked.run)
    left = Checkpoints(folder, f"{node.name}.paused")
    paused = left.last()
    if paused is not None and paused.run == asked.run:
        device.resume(paused)
    answer = _child(device_app(device), node.name).answer(envelope.parse(asked.frame).message)
    left.write(device.pause())
    return answer


def _child(app: Any, name: str) -> Child:
    assume_identity(RUN_ID)
    return Child(app, Context(RUN_ID, 0, {"name": name}, RecordDict(), {}))


def _who(
    grid: Grid, invitation: Invitation, number: int, wait: float, what: str
) -> dict[str, tuple[int, dict[str, Any]]]:
    """Return the nodes of a SuperLink by name, in the names' order: node id, and what they say."""
    gather(grid, number, wait, what)
    messages = [
        replace(invitation, registered=name).to_message(node_id, WHO)
        for node_id, name in nodes(grid).items()
    ]
    found: dict[str, tuple[int, dict[str, Any]]] = {}
    for reply in ask_all(grid, messages, wait):
        facts = json.loads(from_content(reply.content))
        if facts["name"] in found:
            raise RunFailed(f"two nodes are called {facts['name']}: no two may have one name")
        found[facts["name"]] = reply.metadata.src_node_id, facts
    return dict(sorted(found.items()))
