"""Functions that several commands share."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from hierfl.loader import own
from hierfl.process.flower_log import quiet_flower

if TYPE_CHECKING:
    from hierfl.config import Config

PROCESSES = "deploy.launcher.processes:Processes"


def part(reference: str) -> Callable[..., Any]:
    """Import `module:attribute` of a role or of deploy, which no module here may import."""
    part: Callable[..., Any] = own(reference)
    return part


def configuration(topology: Path | None, sets: list[str]) -> Config:
    """Return the configuration, complete and checked."""
    from hierfl.config import load_config
    from hierfl.planning.plan import resolve

    return resolve(load_config(topology, sets))


def node_configuration(topology: Path, sets: list[str]) -> Config:
    """Return the configuration in a process that is one node."""
    be_node()
    quiet_flower()
    return configuration(topology, sets)


def be_node() -> None:
    """Set up logging for a process that is one node."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        handlers=[Stderr()],
    )


class Stderr(logging.StreamHandler[TextIO]):
    """Logs to the current `sys.stderr`, which a live view replaces while it is shown."""

    @property
    def stream(self) -> TextIO:
        """What `sys.stderr` is now."""
        return sys.stderr

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        """Ignore the stream that the constructor sets."""


@contextmanager
def claimed(config: Config, out: Path | None, *, go_on: str = "", **how: Any) -> Iterator[Path]:
    """Own a run folder; see `hierfl.runs.folder.claimed`. What is wrong with it is printed.

    Args:
        config: the configuration.
        out: the folder that was asked for.
        go_on: what is printed when the run is interrupted; {out} is the folder.
        how: see there.
    """
    from hierfl.runs.folder import claimed

    with claimed(config, out, **how) as (folder, told):
        for line in told:
            print(f"warning: {line}", file=sys.stderr, flush=True)
        try:
            yield folder
        except KeyboardInterrupt:
            unfinished = (folder / "checkpoints").exists() and not (
                folder / "summary.json"
            ).exists()
            if go_on and unfinished:
                print(go_on.format(out=shlex.quote(str(folder))), file=sys.stderr, flush=True)
            raise


@contextmanager
def owned(state: Path, name: str) -> Iterator[Path]:
    """Own what a node keeps in a state folder, which is created; yield the folder."""
    from hierfl.runs.folder import owned

    with owned(state, name):
        yield state


def run_here(reference: str, config: Config, folder: Path, also: Sequence[Any] = ()) -> None:
    """Run a function that shows a view: the cloud, or a whole federation in this process.

    Args:
        reference: the function.
        config: its configuration.
        folder: the run folder.
        also: further views.
    """
    views = part("cloud.views.several:Several")(also)
    with closing(views):
        views.add(*part("cloud.exporters.factory:exporters")(config, folder, views.problem))
        views.add(part("cloud.views.factory:open_view")(config, folder))
        one_thread()
        part(reference)(config, folder, views)


def listening(page: str | None) -> Any:
    """Listen where `--page` says, before a run begins; None: there is to be no page."""
    return None if page is None else part("cloud.views.page.endpoint:listen")(page)


def pages(config: Config, folder: Path, endpoint: Any, controls: Any = None) -> list[Any]:
    """Return the view that serves a page, if there is to be one, and print its address."""
    if endpoint is None:
        return []
    page = part("cloud.views.page.server:Page")(config, folder, endpoint, controls)
    print(f"page: {page.url}", flush=True)
    return [page]


def one_thread() -> None:
    """See `hierfl.learning.threads.one_thread`."""
    from hierfl.learning.threads import one_thread

    one_thread()
