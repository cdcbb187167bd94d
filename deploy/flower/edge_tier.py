"""An edge tier under any Flower app on Flower's engine: two lines of the app's pyproject.toml.

    [tool.flwr.app.components]
    clientapp = "deploy.flower.edge_tier:client"

    [tool.hierfl]
    clientapp = "my_app.client_app:app"

The nodes of the SuperLink that `flwr run` is called with are edges. An edge's first message makes
its SuperNode submit the app to the edge's own SuperLink, where the app's ClientApp is its own again
and the ServerApp is `server`, below. That one lives until the cloud's run is over: it keeps the
edge's strategy, and answers the cloud's messages for the devices. Each message reaches the edge in
a new process, which passes it on. A node without a SuperLink of its own is a device.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from deploy.flower.app import FAILED, project, said
from deploy.flower.invitation import Node
from deploy.flower.node_dispatcher import gather
from deploy.flower.polling.relay import Relay, ask, is_open, place
from deploy.flower.polling.run_monitor import Above
from deploy.flower.submission import own_superlink, start_run
from deploy.flower.tier_settings import Cluster, Tier
from deploy.stock_app.app import load_part
from deploy.stock_app.cluster_strategy import cluster_strategy
from deploy.stock_app.edge_app import WEIGHT, EdgeApp
from deploy.stock_app.replies import Screen
from hierfl.errors import HierflError, RunFailed, shortened
from hierfl.link import frames
from hierfl.link.base_grid import RUN_ID
from hierfl.link.flower_compat import message_from_bytes, message_to_bytes, run_status
from hierfl.link.responder import Responder

STATE = "hierfl.edge_tier"
"""The record of an edge's `context.state` that says where its own run is reached."""

WAIT_S = 180.0
"""Seconds within which an edge's own run must have started, and its devices must be there."""

LOOK_S = 0.2
ASK_S = 3.0
"""Seconds between two questions what has become of an edge's run that is not there yet."""


class _Client(ClientApp):
    """The app's ClientApp at a device; at an edge, the way to its devices."""

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer a message.

        Raises:
            ConfigError: [tool.hierfl] is wrong, or the app's ClientApp cannot be had.
        """
        with said():
            folder = project()
            tier = Tier.read(folder)
            is_edge = "superlink" in context.node_config
            own = None if is_edge else load_part(tier.clientapp, "clientapp", ClientApp, folder)
        if own is not None:
            return own(message, context)
        try:
            with said():
                return _pass_on(message, context, folder, tier)
        except HierflError as error:
            return Message(Error(FAILED, str(error)), reply_to=message)


client = _Client()
server = ServerApp()


def _pass_on(message: Message, context: Context, folder: Path, tier: Tier) -> Message:
    """Let the edge's own run answer a message; it is started first, where there is none."""
    node = Node.of(context, f"edge-{context.node_id}")
    token = context.state.config_records.get(STATE, ConfigRecord()).get("token")
    if not isinstance(token, str) or not is_open(place(token, node.name)):
        token = secrets.token_hex(16)
        run = _start(node, context, folder, tier, token)
        context.state[STATE] = ConfigRecord({"token": token})
        _await(place(token, node.name), own_superlink(node), run)
    answer = frames.parse(ask(place(token, node.name), message_to_bytes(message), 0.0))
    reply = message_from_bytes(answer.message)
    if reply.has_error():
        return Message(Error(FAILED, reply.error.reason), reply_to=message)
    return Message(reply.content, reply_to=message)


def _start(node: Node, context: Context, folder: Path, tier: Tier, token: str) -> int:
    """Submit the app to the edge's own SuperLink; return the run's number."""
    devices = int(node.config.get("devices", 1))
    cluster = Cluster(node.name, token, str(context.run_id), devices)
    with tempfile.TemporaryDirectory(prefix="hierfl-") as place_:
        copy = Path(place_) / folder.name
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
        tier.write(copy, cluster)
        superlink = own_superlink(node)
        return start_run(copy, superlink, node.name, context.run_config, until_its_end=False)


def _await(socket: Path, superlink: str, run: int) -> None:
    """Wait until an edge's own run answers.

    Raises:
        RunFailed: it has ended, or does not answer in time.
    """
    status, deadline = run_status(superlink, run), time.monotonic() + WAIT_S
    asks = time.monotonic() + ASK_S
    while not is_open(socket):
        now = time.monotonic()
        if now > asks:
            asks, found = now + ASK_S, status()
            if found is not None and found.status == "finished":
                raise RunFailed(
                    f"run {run} at the SuperLink {superlink} has {found.sub_status}: "
                    f"{shortened(found.details)}",
                    f"On the edge's machine, `flwr log {run} {superlink}` says more.",
                )
        if now > deadline:
            raise RunFailed(f"run {run} at the SuperLink {superlink} does not answer after "
                            f"{WAIT_S:.0f} s")  # fmt: skip
        time.sleep(LOOK_S)


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Run an edge's strategy over its devices whenever the cloud asks for it."""
    with said(), ExitStack() as stack:
        folder = project()
        tier, cluster = Tier.read(folder), Cluster.read(folder)
        above = Above(int(cluster.upstream))
        gather(grid, cluster.devices, WAIT_S, "devices", above.over)
        app = EdgeApp(
            cluster.node,
            grid,
            cluster_strategy(tier.edge_strategy, folder, cluster.devices),
            rounds=tier.edge_rounds,
            timeout=tier.edge_timeout,
            screen=None if tier.edge_strategy else Screen(WEIGHT),
            tell=lambda line: print(line, flush=True),
        )
        responder = Responder(app, Context(RUN_ID, 0, {}, RecordDict(), {}))

        def answer(data: bytes) -> bytes:
            with above.heard_of():
                return responder.answer_message(data)

        stack.enter_context(Relay(place(cluster.token, cluster.node), answer))
        while not above.over():
            time.sleep(LOOK_S)
