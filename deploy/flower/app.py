"""The Flower app: `deploy.flower.app:server` and `deploy.flower.app:client` in a pyproject.toml."""

from __future__ import annotations

import logging
import os
import sys
import tomllib
from pathlib import Path

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from deploy.flower.joining import Invitation, Node
from deploy.flower.settings import gathering
from hierfl.errors import ConfigError, HierflError, render

server = ServerApp()
client = ClientApp()

FAILED = 3
"""Flower's code of an error that a ClientApp reports."""


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Be the cloud, or, where an edge has submitted the app to its own SuperLink, the edge."""
    _log()
    own = gathering(context.run_config)
    if own.tier == "edge":
        from deploy.flower.edge import edge

        edge(grid, own, home())
    else:
        from deploy.flower.cloud import cloud

        cloud(grid, own, context.run_config)


@client.query("join")
def join(message: Message, context: Context) -> Message:
    """Be the edge, or the device, that the SuperNode's node config says."""
    _log()
    try:
        invitation = Invitation.from_message(message)
        node = Node.of(context, invitation.registered)
        if "superlink" in node.config:
            from deploy.flower.edge import submit

            submit(node, invitation, project())
        else:
            from deploy.flower.device import device

            device(node, invitation, home())
    except HierflError as error:  # said in one line here and at the parent, not as a traceback
        print(render(error), file=sys.stderr, flush=True)
        return Message(Error(FAILED, f"{error}"), reply_to=message)
    return Message(RecordDict({"done": ConfigRecord({"name": node.name})}), reply_to=message)


def home() -> Path:
    """Return Flower's folder on this machine."""
    return Path(os.environ.get("FLWR_HOME", Path.home() / ".flwr"))


def project() -> Path:
    """Return the folder of the app that runs here, which Flower puts on the path.

    Raises:
        ConfigError: there is none.
    """
    for entry in sys.path:
        file = Path(entry) / "pyproject.toml"
        if file.is_file() and "app" in tomllib.loads(file.read_text()).get("tool", {}).get(
            "flwr", {}
        ):
            return file.parent
    raise ConfigError("", "no folder on the path has a pyproject.toml with [tool.flwr.app]")


def _log() -> None:
    """Let hierfl's own parts speak; Flower's logs speak for themselves."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    for name in ("hierfl", "cloud", "edge", "clients", "deploy"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)
            logger.propagate = False
