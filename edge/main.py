"""The edge as a process of its own: its devices on one side, the cloud on the other.

It holds no model and needs no torch: what it must know of the model, the cloud's welcome says.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import astuple
from pathlib import Path

from edge.client_app import client_app
from edge.cluster import Cluster, ClusterSettings
from edge.enrolment import enrol_cluster
from hierfl.config import CLOUD, Config
from hierfl.config.digest import agreed, digest
from hierfl.link import link_pb2 as pb
from hierfl.link.absence import AbsenceReporter
from hierfl.link.bind import await_address
from hierfl.link.client import LinkClient
from hierfl.link.link_grid import LinkGrid
from hierfl.link.loop import LinkLoop
from hierfl.link.parent_options import parent_options
from hierfl.process.gc_freeze import freeze_heap
from hierfl.protocol.checkpoint_store import CheckpointStore
from hierfl.protocol.presence import ChildState, Roll, Watch, troubled
from hierfl.protocol.progress import DevicesAttached, DeviceStates, to_json

log = logging.getLogger(__name__)


def run(
    config: Config,
    name: str,
    state: Path,
    *,
    token: str = "",
    devices_token: str = "",
    patience: float | None = None,
    on_grid: Callable[[LinkGrid], None] = lambda grid: None,
) -> None:
    """Serve one edge of a resolved configuration until the run is done.

    Args:
        config: the configuration.
        name: the edge's name.
        state: the folder of its checkpoints.
        token: the secret of the cloud's link, where there is one.
        devices_token: the secret of its own link.
        patience: seconds without the cloud after which it gives up; None: `round_timeout`.
        on_grid: called with its link before it opens.

    Raises:
        HierflError: for a failure that the user can correct.
    """
    edge = config.edge(name)
    plan, heartbeat = digest(config).to_text(), config.quorum.heartbeat
    options = parent_options(config, name)
    credentials = options["credentials"]
    patience = patience or config.quorum.round_timeout
    await_address(edge.address)
    telling = threading.Lock()

    def tell_devices(child: str = "", attached: bool = False) -> None:
        total = len(edge.devices)
        with telling:  # so that the last one told is the latest
            missing = grid.missing()
            news = DevicesAttached(total - len(missing), total, tuple(missing))
            client.progress(to_json(news))

    with (
        LinkLoop() as loop,
        LinkGrid(
            **options,
            plan=plan,
            token=devices_token,
            loop=loop,
            enrolment=enrol_cluster(
                config,
                name,
                loop,
                credentials=credentials,
                token=token,
                devices_token=devices_token,
                patience=patience,
            ),
            on_presence=tell_devices,
        ) as grid,
        AbsenceReporter(lambda: grid.missing() if grid.is_open else [], log.warning),
        ExitStack() as stack,
    ):
        on_grid(grid)
        cluster = Cluster(
            name,
            grid,
            ClusterSettings.of(config),
            lambda news: client.progress(to_json(news)),
            CheckpointStore(state, name, agreed(config)),
        )

        def tell_states(states: Sequence[ChildState]) -> None:
            client.progress(to_json(DeviceStates(tuple(map(astuple, states)))))

        def welcome(welcome: pb.Welcome) -> None:
            cluster.join(welcome.run)
            if grid.is_open:
                watch.again()
            else:
                grid.open(model=welcome.model, run=welcome.run, max_frame=welcome.max_frame)
            tell_devices()

        client = LinkClient(
            config.cloud.address,
            name,
            client_app(cluster),
            plan=plan,
            patience=patience,
            heartbeat=heartbeat,
            credentials=credentials.towards(CLOUD) if credentials else None,
            token=token,
            loop=loop,
            on_welcome=welcome,
            position=lambda: cluster.position,
        )
        roll = Roll(grid.members, grid.missing, lambda: cluster.abstaining)
        watch = stack.enter_context(Watch(lambda: troubled(roll.look()), tell_states))
        freeze_heap()
        client.serve()
        cluster.finish()
