"""What several commands do."""

from __future__ import annotations

import importlib
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

if TYPE_CHECKING:
    from hierfl.config import Config


def part(reference: str) -> Callable[..., Any]:
    """Return a part of hierfl that lies above this layer, so that no module here imports it."""
    module, _, name = reference.partition(":")
    part: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return part


def configuration(topology: Path | None, sets: list[str]) -> Config:
    from hierfl.config import load_config
    from hierfl.planning.plan import resolve

    return resolve(load_config(topology, sets))


def node_configuration(topology: Path, sets: list[str]) -> Config:
    be_node()
    quiet_flower()
    return configuration(topology, sets)


def be_node() -> None:
    """Get ready to be one node, perhaps one that a launcher has started and will stop."""
    signal.signal(signal.SIGTERM, terminate)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        handlers=[Stderr()],
    )


class Stderr(logging.StreamHandler[TextIO]):
    """Logs to whatever standard error is now: a live view takes it over for a while."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        """What the constructor sets is not kept."""


def quiet_flower() -> None:
    import flwr.app  # noqa: F401  (importing it sets the level of its log)

    logging.getLogger("flwr").setLevel(logging.WARNING)


def terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def claim(config: Config, out: Path | None, source: Path | None, resume: bool) -> Path:
    from hierfl.runs.folder import claim

    return claim(config, out, source, resume)


def run_here(reference: str, config: Config, folder: Path) -> None:
    """Run what shows a view: the cloud, or everything in this process."""
    with closing(part("cloud.views.factory:open_view")(config, folder)) as view:
        one_thread()
        part(reference)(config, folder, view)


def one_thread() -> None:
    from hierfl.learning.threads import one_thread

    one_thread()
