"""The Flower app: `deploy.flower.app:server` and `deploy.flower.app:client` in a pyproject.toml.

Packages that may be missing on a node, or have another version there, are imported where they are
used, so that the node can report it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from hierfl.errors import ConfigError, HierflError, render

server = ServerApp()
client = ClientApp()

FAILED = 3
"""Flower's error code for an error that a ClientApp reports."""


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Run the cloud or, if an edge has submitted the app to its own SuperLink, the edge."""
    with said():
        from deploy.flower.settings import gathering

        own = gathering(context.run_config)
        match own.link, own.tier:
            case "stream", "cloud":
                from deploy.flower.cloud import cloud

                cloud(grid, own, context.run_config)
            case "stream", _:
                from deploy.flower.edge import edge

                edge(grid, own, home())
            case _, "cloud":
                from deploy.flower.polling import run

                run.cloud(grid, own, context.run_config)
            case _:
                from deploy.flower.polling import run

                run.edge(grid, own, home())


@client.query("join")
def join(message: Message, context: Context) -> Message:
    """Run the edge or device of the SuperNode's node config until the run is over."""

    def do() -> bytes:
        from deploy.flower.invitation import Invitation, Node

        invitation = Invitation.from_message(message)
        node = Node.of(context, invitation.registered)
        if "superlink" in node.config:
            from deploy.flower.edge import submit

            submit(node, invitation, project(), "stream")
        else:
            from deploy.flower.device import device

            device(node, invitation, home())
        return node.name.encode()

    return _reply(message, do)


@client.query("who")
def who(message: Message, context: Context) -> Message:
    """Reply with this node's name and children; the first message with `link = "flower"`."""

    def do() -> bytes:
        from deploy.flower import edge
        from deploy.flower.invitation import Invitation, Node
        from deploy.flower.polling import run

        run_id = str(message.metadata.run_id)  # there is no link; the node follows the run itself
        invitation = replace(Invitation.from_message(message), address=run_id)
        node = Node.of(context, invitation.registered)
        said = run.who(node, invitation, lambda n, i: edge.submit(n, i, project(), "flower"))
        return json.dumps(said).encode()

    return _reply(message, do)


@client.query("frame")
def frame(message: Message, context: Context) -> Message:
    """Answer one request of a run with `link = "flower"`."""

    def do() -> bytes:
        from deploy.flower.polling import run
        from deploy.flower.polling.grid import from_content

        return run.frame(context, from_content(message.content), home())

    return _reply(message, do)


def _reply(message: Message, do: Callable[[], bytes]) -> Message:
    """Return the reply; an expected error becomes one line, here and at the parent."""
    try:
        with said():
            from deploy.flower.polling.grid import to_content

            return Message(to_content(do()), reply_to=message)
    except HierflError as error:
        return Message(Error(FAILED, str(error)), reply_to=message)


@contextmanager
def said() -> Iterator[None]:
    """Print expected errors and missing packages without a traceback, and raise them again."""
    _log()
    try:
        yield
    except (HierflError, ImportError) as error:
        told = error if isinstance(error, HierflError) else _missing(error)
        print(render(told), file=sys.stderr, flush=True)
        raise told from None


def _missing(error: ImportError) -> ConfigError:
    return ConfigError(
        "", f"a package is missing on this node: {error}", "Install hierfl's dependencies."
    )


def home() -> Path:
    """Return FLWR_HOME, Flower's folder on this machine."""
    return Path(os.environ.get("FLWR_HOME", Path.home() / ".flwr"))


def project() -> Path:
    """Return the folder of the running app, which Flower adds to `sys.path`.

    Raises:
        ConfigError: if there is none.
    """
    for entry in sys.path:
        file = Path(entry) / "pyproject.toml"
        if file.is_file() and "app" in tomllib.loads(file.read_text()).get("tool", {}).get(
            "flwr", {}
        ):
            return file.parent
    raise ConfigError("", "no folder on the path has a pyproject.toml with [tool.flwr.app]")


def _log() -> None:
    """Log hierfl's packages to standard error; Flower sets up its own logs."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    for name in ("hierfl", "cloud", "edge", "clients", "deploy"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)
            logger.propagate = False
