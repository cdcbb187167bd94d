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
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from flwr.app import Context, RecordDict
from flwr.serverapp import Grid

from clients.client_app import client_app as device_app
from clients.device import Device, DeviceSettings
from cloud.held import Held
from cloud.main import train
from cloud.views.base import Harmless
from cloud.views.lines import Plain
from deploy.flower.cloud import SOMEWHERE, check_devices
from deploy.flower.invitation import Invitation, Node, state_folder
from deploy.flower.polling.discovery import Found, call
from deploy.flower.polling.grid import Tunnel
from deploy.flower.polling.relay import Relay, ask, place
from deploy.flower.polling.run_monitor import Above
from deploy.flower.settings import Gathering, Value, topology
from edge.client_app import client_app as edge_app
from edge.cluster import Cluster, ClusterSettings
from hierfl.config import CLOUD, Config, read_config
from hierfl.config.digest import agreed
from hierfl.errors import ConfigError
from hierfl.learning.loaded import load_data
from hierfl.learning.setup import make_trainer
from hierfl.learning.threads import one_thread
from hierfl.link import frames
from hierfl.link import link_pb2 as pb
from hierfl.link.base_grid import RUN_ID
from hierfl.link.flower_compat import assume_identity
from hierfl.link.responder import Responder, Vote
from hierfl.planning.plan import make_plan, resolve
from hierfl.protocol.checkpoint_store import CheckpointStore
from hierfl.runs.folder import claimed

LOOK_S = 1.0
"""Seconds between two looks at whether the run goes on."""


def cloud(grid: Grid, own: Gathering, run_config: Mapping[str, Value]) -> None:
    """Run the federation whose edges are the nodes of this SuperLink.

    Raises:
        HierflError: for a failure that the user can correct.
    """
    _refuse_own_data(topology(run_config, SOMEWHERE))
    token = secrets.token_hex(16)
    found = call(grid, Invitation(CLOUD, "", token, own.wait), own.edges, "edges")
    there = {name: facts["devices"] for name, facts in found.facts.items()}
    check_devices(own, there)
    edges = [{"name": name, "devices": devices} for name, devices in there.items()]
    config = resolve(topology(run_config, {"edges": edges}))
    one_thread()
    quorum, text = config.quorum.edges, config.to_yaml()
    with ExitStack() as stack:
        folder, _ = stack.enter_context(claimed(config, Path(own.out) if own.out else None))
        held = Held.of(config, folder)
        print(_warning(config, max(facts["seconds"] for facts in found.facts.values())), flush=True)
        view = Harmless(Plain(config, folder, sys.stdout))
        tunnel = stack.enter_context(Tunnel(grid, found.node_ids, quorum, text, held.run, token))
        stack.callback(tunnel.goodbye)
        train(config, folder, view, held, tunnel)


def _refuse_own_data(config: Config) -> None:
    """Refuse what is not built: enrolment in Flower's messages.

    Raises:
        ConfigError: each device has data of its own.
    """
    if config.data.is_own:
        raise ConfigError(
            "data.partition",
            'devices with data of their own cannot enrol with link = "flower": a node that enrols '
            "waits until all others have, and there each message is a process that ends",
            'Set link = "stream": each edge then opens one port to its devices.',
        )


def _warning(config: Config, seconds: float) -> str:
    """Return a line with the least time of the run, given the seconds of an empty message."""
    settings = config.algorithm
    messages = settings.rounds * (settings.edge_steps + 3) + 1
    total = timedelta(seconds=round(messages * seconds))
    return (
        f"link = flower: a message takes {seconds:.1f} s here at least, and this run sends about "
        f"{messages}, one after the other: {total} or more; link = stream takes milliseconds each"
    )


def edge(grid: Grid, own: Gathering, home: Path) -> None:
    """Run an edge: answer the cloud's messages, which ClientApps on this machine pass on.

    Raises:
        HierflError: for a failure that the user can correct.
    """
    with ExitStack() as stack:
        serving = _Serving(grid, own, home, stack)
        stack.enter_context(Relay(place(own.token, own.node), serving.answer))
        serving.gather()
        serving.wait()


class _Serving:
    """An edge: its devices, and its cluster once the first request has brought the configuration.

    The ServerApp's main thread gathers and waits; requests are answered in another one.
    """

    def __init__(self, grid: Grid, own: Gathering, home: Path, stack: ExitStack) -> None:
        self._grid = grid
        self._own = own
        self._home = home
        self._stack = stack
        self._above = Above(int(own.upstream))
        self._found: Future[Found] = Future()
        self._child: Responder | None = None
        self._over = threading.Event()

    def gather(self) -> None:
        """Find the devices, for `answer`; or let it raise what prevents that.

        Raises:
            RunFailed: they are not all there.
        """
        own = self._own
        invitation = Invitation(own.node, "", secrets.token_hex(16), own.wait)
        try:
            found = call(self._grid, invitation, own.devices, "devices", self._above.over)
            self._found.set_result(found)
        except BaseException as error:
            self._found.set_exception(error)
            raise

    def wait(self) -> None:
        """Wait for the end of the run.

        Raises:
            RunFailed: the cloud's run has ended without a goodbye.
        """
        while not self._over.wait(LOOK_S) and not self._above.over():
            pass

    def answer(self, data: bytes) -> bytes:
        """Answer who the devices are, or a frame."""
        with self._above.heard_of():
            return self._answer(data)

    def _answer(self, data: bytes) -> bytes:
        if not data:
            found = self._found.result()
            return json.dumps({"devices": [*found.node_ids], "seconds": found.seconds}).encode()
        asked = pb.Tunnelled.FromString(data)
        if asked.over:
            self._over.set()
            return b""
        if self._child is None:
            self._child = self._open(asked)
        return self._child.answer(frames.parse(asked.frame))

    def _open(self, asked: pb.Tunnelled) -> Responder:
        config = read_config(asked.config)
        name, devices = self._own.node, self._found.result().node_ids
        order = {device: devices[device] for device in config.tree()[name]}
        tunnel = Tunnel(self._grid, order, config.quorum.devices, asked.config, asked.run)
        self._stack.enter_context(tunnel)
        store = CheckpointStore(state_folder(self._home, config), name, agreed(config))
        cluster = Cluster(name, tunnel, ClusterSettings.of(config), lambda news: None, store)
        cluster.join(asked.run)
        return _child(edge_app(cluster), name)


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
    facts = ask(place(invitation.token, node.name), b"", invitation.wait)
    return {"name": node.name, **json.loads(facts)}


def frame(context: Context, data: bytes, home: Path) -> bytes:
    """Return the frame that answers a frame."""
    asked = pb.Tunnelled.FromString(data)
    node = Node.of(context, asked.name)
    if "superlink" in node.config:
        return ask(place(asked.token, node.name), data, 0.0)
    return device_frame(node, asked, home)


def device_frame(node: Node, asked: pb.Tunnelled, home: Path) -> bytes:
    """Restore the state that the last process saved, answer one frame, and save the state."""
    if asked.over:
        return b""
    one_thread()
    config: Config = node.local(asked.config)
    trainer = make_trainer(config, node.name, load_data(config, node.name))
    folder = state_folder(home, config)
    model = trainer.model
    plan = make_plan(config, model.layout, model.buffer_layout.d)
    store = CheckpointStore(folder, node.name, agreed(config))
    device = Device(node.name, DeviceSettings.of(config), plan, trainer, store)
    device.join(asked.run)
    left = CheckpointStore(folder, f"{node.name}.paused", agreed(config)).enter(asked.run)
    left.restore_last(device.resume)
    child = _child(device_app(device), node.name, device.vote)
    answer = child.answer(frames.parse(asked.frame))
    left.write(device.pause())
    return answer


def _child(app: Any, name: str, vote: Vote | None = None) -> Responder:
    assume_identity(RUN_ID)
    return Responder(app, Context(RUN_ID, 0, {"name": name}, RecordDict(), {}), vote)
