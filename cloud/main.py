"""The cloud as a process of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from flwr.app import Context, RecordDict

from cloud.enrolment import hold
from cloud.held import Held
from cloud.notify import Notifier
from cloud.presence import Presence
from cloud.server_app import server_app
from cloud.status import StatusKeeper
from cloud.views.background import Background
from cloud.views.base import EdgePresence, EdgeProgress, Listening, View, Waiting
from cloud.views.events import EventLog
from cloud.views.several import Several
from hierfl.config import CLOUD, Config
from hierfl.errors import PayloadError
from hierfl.learning.setup import fingerprint
from hierfl.link.absence import AbsenceReporter, never_came
from hierfl.link.base_grid import RUN_ID, BaseGrid
from hierfl.link.bind import await_address
from hierfl.link.link_grid import LinkGrid
from hierfl.link.loop import LinkLoop
from hierfl.link.parent_options import parent_options
from hierfl.process.gc_freeze import freeze_heap
from hierfl.protocol.presence import Roll
from hierfl.protocol.progress import from_json
from hierfl.runs.results import EVENTS

log = logging.getLogger(__name__)


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
        view: receives the events of the run.
        token: the secret of its link, where there is one.
        on_grid: called with its link before it opens.

    Raises:
        HierflError: for a failure that the user can correct.
    """
    options = parent_options(config, CLOUD)
    credentials = options["credentials"]
    presence = Presence(config.tree())

    def say(line: str) -> None:
        view.handle(Waiting(line))

    with LinkLoop() as loop, ExitStack() as stack:
        held, enrolment = hold(config, out, loop, say, credentials=credentials, token=token)
        await_address(options["address"], say=say)
        grid = LinkGrid(
            **options,
            plan=held.plan.digest.to_text(),
            token=token,
            loop=loop,
            enrolment=enrolment,
            on_progress=lambda edge, data: _tell(view, presence, edge, data),
            on_presence=lambda edge, attached: view.handle(EdgePresence(edge, attached)),
        )
        on_grid(grid)
        notifier = stack.enter_context(Notifier(config.notify)) if config.notify else None
        keeper = StatusKeeper(
            config,
            out,
            Roll(grid.members, grid.missing),
            presence,
            notifier.tell if notifier else None,
        )
        events = stack.enter_context(closing(Background(EventLog(config, out), EVENTS)))
        view = Several([view, keeper, events])
        absence = AbsenceReporter(lambda: presence.missing(grid.missing()), say)
        with grid, absence, keeper:
            address = grid.open(
                model=fingerprint(config, held.model, held.task.facts),
                run=held.run,
                max_frame=held.plan.frame_limit,
            )
            view.handle(Listening(address))
            if missing := grid.wait_for_children(config.quorum.round_timeout):
                raise never_came(missing, config.quorum.round_timeout)
            freeze_heap()
            train(config, out, view, held, grid)


def _tell(view: View, presence: Presence, edge: str, data: bytes) -> None:
    """Hand an edge's progress on; what is none is left out, for nothing depends on it."""
    try:
        progress = from_json(data)
    except PayloadError as error:
        log.debug("%s sent %s", edge, error)
        return
    presence.progress(edge, progress)
    view.handle(EdgeProgress(edge, progress))


def train(config: Config, out: Path, view: View, held: Held, grid: BaseGrid) -> None:
    """Run all rounds that are left, with edges on any grid."""
    app = server_app(
        config,
        held.plan,
        held.task,
        held.model,
        held.test,
        out,
        view,
        checkpoints=held.checkpoints,
        run=held.run,
        faults=held.faults,
    )
    app(grid, Context(RUN_ID, 0, {}, RecordDict(), {}))
