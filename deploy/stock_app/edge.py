"""An edge of a Flower app: a strategy over its devices, and a link to the cloud."""

from __future__ import annotations

import logging

from deploy.stock_app.app import app_of
from deploy.stock_app.cluster_strategy import cluster_strategy
from deploy.stock_app.edge_app import WEIGHT, EdgeApp
from deploy.stock_app.node import MAX_FRAME, reseed
from deploy.stock_app.replies import Screen
from deploy.stock_app.shared_grid import SharedGrid
from hierfl.config import CLOUD, Config
from hierfl.config.digest import digest
from hierfl.errors import ConfigError
from hierfl.link import link_pb2 as pb
from hierfl.link.absence import AbsenceReporter
from hierfl.link.bind import await_address
from hierfl.link.client import LinkClient
from hierfl.link.loop import LinkLoop
from hierfl.link.parent_options import parent_options

log = logging.getLogger(__name__)


def run_edge(config: Config, name: str) -> None:
    """Serve as one edge of a topology with an app, until the run is done.

    Raises:
        HierflError: for a failure that the user can correct.
    """
    if config.app is None:
        raise ConfigError("app", "this topology has no Flower app")
    reseed()
    edge, chosen = config.edge(name), config.app
    plan, heartbeat = digest(config).to_text(), config.quorum.heartbeat
    options = parent_options(config, name)
    credentials = options["credentials"]
    strategy = cluster_strategy(
        chosen.edge_strategy,
        app_of(config).folder if chosen.edge_strategy else None,
        len(edge.devices),
    )
    await_address(edge.address)

    def tell(line: str) -> None:
        log.warning("%s", line)
        client.progress(line.encode(errors="replace"))

    with (
        LinkLoop() as loop,
        SharedGrid(
            **options,
            plan=plan,
            loop=loop,
        ) as grid,
        AbsenceReporter(lambda: grid.missing() if grid.is_open else [], log.warning),
    ):

        def welcome(welcome: pb.Welcome) -> None:
            if not grid.is_open:
                grid.open(model=welcome.model, run=welcome.run, max_frame=MAX_FRAME)

        app = EdgeApp(
            name,
            grid,
            strategy,
            rounds=chosen.edge_rounds,
            timeout=config.quorum.step_timeout,
            screen=None if chosen.edge_strategy else Screen(WEIGHT),
            tell=tell,
        )
        client = LinkClient(
            config.cloud.address,
            name,
            app,
            plan=plan,
            max_frame=MAX_FRAME,
            patience=config.quorum.round_timeout,
            heartbeat=heartbeat,
            credentials=credentials.towards(CLOUD) if credentials else None,
            loop=loop,
            on_welcome=welcome,
        )
        client.serve()
