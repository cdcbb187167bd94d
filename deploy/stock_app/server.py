"""The root of a Flower app's run: its ServerApp, with a link as its Grid."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import flwr
from flwr.app import Context, RecordDict
from flwr.serverapp import ServerApp

from deploy.stock_app.app import Value, app_of, load_part
from deploy.stock_app.fingerprint import fingerprint
from deploy.stock_app.journal import Journal
from deploy.stock_app.node import MAX_FRAME, ServerNode, reseed
from deploy.stock_app.shared_grid import SharedGrid
from hierfl.config import CLOUD, Config
from hierfl.config.digest import digest
from hierfl.errors import HierflError, RunFailed, shortened
from hierfl.link.absence import AbsenceReporter, never_came
from hierfl.link.base_grid import RUN_ID
from hierfl.link.bind import await_address
from hierfl.link.parent_options import parent_options
from hierfl.link.traffic import Traffic
from hierfl.units import plural, size

FLOWER = Path(flwr.__file__).parent
LAST_FRAMES = 4
"""Of a ServerApp's traceback, beside the first: the screen has room for so many."""


@dataclass(frozen=True)
class Served:
    """What a run came to: seconds that the ServerApp ran, and what it sent and got meanwhile."""

    seconds: float
    traffic: Traffic

    def __str__(self) -> str:
        up, down = self.traffic.up, self.traffic.down
        return (
            f"{plural(down.frames, 'message')} answered by {up.frames:,} in {self.seconds:.2f} s "
            f"({down.frames / self.seconds:,.1f} messages/s)\n"
            f"down {size(down.messages):>9}\nup   {size(up.messages):>9}"
        )

    def to_json(self) -> str:
        """Return it as a run folder's summary.json has it; bytes are those of whole messages."""
        up, down = self.traffic.up, self.traffic.down
        summary = {
            "seconds": round(self.seconds, 3),
            "messages_down": down.frames,
            "messages_up": up.frames,
            "bytes_down": down.messages,
            "bytes_up": up.messages,
        }
        return json.dumps(summary, indent=2) + "\n"


def run(text: str) -> None:
    """Serve as a `ServerNode`, given as JSON, and print what the run came to.

    Raises:
        HierflError: for a failure that the user can correct.
    """
    node = ServerNode.from_json(text)
    reseed()
    app = load_part(node.server, "serverapp", ServerApp, Path(node.folder))
    grid = SharedGrid(node.address, node.nodes)
    with grid:
        grid.open(max_frame=MAX_FRAME)
        grid.wait_for_children()
        print(_serve(app, grid, node.run_config))


def run_cloud(config: Config, out: Path) -> None:
    """Serve as the cloud of a topology with an app, and write `out/summary.json`.

    Raises:
        HierflError: for a failure that the user can correct.
    """
    _show_flowers_log()
    found, patience = app_of(config), config.quorum.round_timeout
    journal = Journal(out / "checkpoints" / "replies")
    if journal.kept:
        _say(f"it goes on: {plural(journal.kept, 'exchange')} with the edges had been answered")
    journal.seed()
    app = load_part(found.server, "serverapp", ServerApp, found.folder)
    await_address(config.cloud.address, say=_say)
    grid = SharedGrid(
        **parent_options(config, CLOUD),
        longest=patience,
        journal=journal,
        plan=digest(config).to_text(),
        on_progress=_told,
    )
    with grid, AbsenceReporter(grid.missing, _say):
        grid.open(model=fingerprint(found.folder), run=journal.run, max_frame=MAX_FRAME)
        if missing := grid.wait_for_children(patience):
            raise never_came(missing, patience)
        served = _serve(app, grid, found.run_config)
    (out / "summary.json").write_text(served.to_json(), encoding="utf-8")
    journal.close()
    print(served)


def _serve(app: ServerApp, grid: SharedGrid, run_config: Mapping[str, Value]) -> Served:
    began = monotonic()
    try:
        app(grid, Context(RUN_ID, 0, {}, RecordDict(), dict(run_config)))
    except HierflError:
        raise
    except Exception as error:
        raise _failed(error) from error
    seconds = monotonic() - began
    grid.refuse_ruin()
    return Served(seconds, grid.ledger.traffic())


def _failed(error: Exception) -> RunFailed:
    """Return the error for a ServerApp that raised one, with the app's own part of the traceback.

    What is hierfl's and Flower's of it is above the app's first frame.
    """
    frames = traceback.extract_tb(error.__traceback__)
    above = [n for n, frame in enumerate(frames) if FLOWER in Path(frame.filename).parents]
    own = frames[above[0] + 1 :] if above else frames
    said = "".join(traceback.format_exception_only(error)).strip()
    places = "".join(traceback.format_list(own[:1] + own[1:][-LAST_FRAMES:])).rstrip()
    return RunFailed(f"the ServerApp failed: {said}\n{places}")


def _show_flowers_log() -> None:
    """Let Flower log to standard output, which the launcher shows: it tells of the rounds."""
    logger = logging.getLogger("flwr")
    logger.setLevel(logging.INFO)
    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(sys.stdout)


def _told(edge: str, data: bytes) -> None:
    """Print what an edge tells of its devices."""
    _say(f"{edge}: {shortened(data.decode(errors='replace'))}")


def _say(line: str) -> None:
    print(line, flush=True)
