"""Functions that several commands share."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from hierfl.config import Config

PROCESSES = "deploy.launcher.processes:Processes"


def part(reference: str) -> Callable[..., Any]:
    """Import `module:attribute` of a role or of deploy, which no module here may import."""
    module, _, name = reference.partition(":")
    part: Callable[..., Any] = getattr(importlib.import_module(module), name)
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


def quiet_flower() -> None:
    """Let Flower log warnings and errors only."""
    import flwr.app  # noqa: F401  (the import sets the level of its logger)

    logging.getLogger("flwr").setLevel(logging.WARNING)


def claim(config: Config, out: Path | None, source: Path | None, resume: bool) -> Path:
    """See `hierfl.runs.folder.claim`."""
    from hierfl.runs.folder import claim

    return claim(config, out, source, resume)


def run_here(reference: str, config: Config, folder: Path) -> None:
    """Run a function that shows a view: the cloud, or a whole federation in this process."""
    with closing(part("cloud.views.factory:open_view")(config, folder)) as view:
        one_thread()
        part(reference)(config, folder, view)


def one_thread() -> None:
    """See `hierfl.learning.threads.one_thread`."""
    from hierfl.learning.threads import one_thread

    one_thread()
