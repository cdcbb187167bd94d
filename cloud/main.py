"""The cloud as a process of its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

from flwr.app import Context, RecordDict

from cloud.server_app import server_app
from cloud.view import View
from hierfl.checkpoint import Checkpoints
from hierfl.config import CLOUD, Config
from hierfl.errors import RunFailed
from hierfl.learning.setup import load_data, make_model
from hierfl.link.grid import RUN_ID
from hierfl.link.server import LinkGrid
from hierfl.plan import digest, longest_frame
from hierfl.security import identity


def run(
    config: Config,
    out: Path,
    view: View,
    *,
    token: str = "",
    on_grid: Callable[[LinkGrid], None] = lambda grid: None,
) -> None:
    """Serve the edges of a resolved configuration until the run is done.

    It goes on from the run folder's checkpoints, where there are some.

    Args:
        config: the configuration.
        out: the run folder.
        view: is told what happens.
        token: the secret of its link, where there is one.
        on_grid: called with its link before it opens.

    Raises:
        HierflError: whatever a person can put right.
    """
    credentials = identity(config, CLOUD)
    data = load_data(config)
    model = make_model(config, data)
    checkpoints = Checkpoints(out / "checkpoints", CLOUD)
    kept = checkpoints.last()
    run = kept.run if kept else uuid.uuid4().hex
    with LinkGrid(
        config.cloud.address,
        list(config.tree()),
        quorum=config.quorum.edges,
        max_missed=config.quorum.max_missed,
        plan=digest(config),
        heartbeat=config.quorum.heartbeat,
        credentials=credentials,
        token=token,
        on_progress=view.progress,
        on_presence=view.presence,
    ) as grid:
        on_grid(grid)
        address = grid.open(
            model=model.layout.fingerprint(),
            run=run,
            max_frame=longest_frame(model.layout, model.buffer_layout.d),
        )
        view.wait(address)
        if missing := grid.wait_for_children(config.quorum.round_timeout):
            raise RunFailed(
                f"{', '.join(missing)} did not come within {config.quorum.round_timeout:g} s",
                "Are these edges running, and can they reach the cloud at cloud.address?",
            )
        app = server_app(config, model, data.test, out, view, checkpoints, run)
        app(grid, Context(RUN_ID, 0, {}, RecordDict(), {}))
