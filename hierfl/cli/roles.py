"""The commands `hierfl cloud`, `hierfl edge` and `hierfl device`: one node each."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hierfl.cli.options import AcceptLoss, Name, Names, Out, Page, Required, Sets, State
from hierfl.cli.parts import (
    be_node,
    claimed,
    listening,
    node_configuration,
    one_thread,
    owned,
    pages,
    part,
    run_here,
)
from hierfl.errors import ConfigError

if TYPE_CHECKING:
    from hierfl.config import Config

log = logging.getLogger(__name__)


def cloud(
    topology: Required,
    sets: Sets = [],  # noqa: B006
    out: Out = None,
    name: Name = "cloud",
    accept_loss: AcceptLoss = False,
    page: Page = None,
    launched: Annotated[
        bool, typer.Option("--launched", hidden=True, help="`hierfl run` owns the run folder.")
    ] = False,
    events: Annotated[str, typer.Option(hidden=True, help="Where `hierfl run` takes events.")] = "",
) -> None:
    """Run the cloud. It waits for its edges, trains, and writes the run folder.

    The same command continues an unfinished run in --out.

    Example: hierfl cloud topology.yaml --out runs/first

    Example: hierfl cloud topology.yaml --out runs/first --page 0.0.0.0:8080
    """
    config = node_configuration(topology, sets)
    if sys.stderr.isatty():  # the live view shows which edges are attached
        logging.getLogger().setLevel(logging.WARNING)
    how = {
        "source": topology,
        "resume": True,
        "accept_loss": accept_loss,
        "launched": launched,
    }
    if config.app is not None and page is not None:
        raise ConfigError("--page", "there is no page of a Flower app's run yet")
    endpoint = listening(page)
    go_on = "" if launched else "interrupted; the same command with --out {out} continues this run"
    with (
        claimed(config, out, go_on=go_on, **how) as folder,
        owned(folder / "checkpoints", name),
    ):
        if config.app is not None:
            part("deploy.stock_app.server:run_cloud")(config, folder)
            return
        also = [part("cloud.views.relay:sender")(events)] if events else []
        run_here("cloud.main:run", config, folder, also + pages(config, folder, endpoint))


def edge(
    topology: Required,
    name: Name,
    sets: Sets = [],  # noqa: B006
    state: State = None,
) -> None:
    """Run one edge. It retries until the cloud is up, and stops when the run is over.

    Example: hierfl edge topology.yaml --name east
    """
    config = node_configuration(topology, sets)
    with owned(state_folder(config, state), name) as folder, logged(config, name):
        if config.app is not None:
            part("deploy.stock_app.edge:run_edge")(config, name)
        else:
            part("edge.main:run")(config, name, folder)


def device(
    topology: Required,
    names: Names,
    sets: Sets = [],  # noqa: B006
    state: State = None,
    bench: Annotated[
        bool,
        typer.Option(
            "--bench", help="Measure how fast this machine is, without connecting to anything."
        ),
    ] = False,
) -> None:
    """Run a device. It retries until its edge is up, and stops when the run is over.

    Several devices share the process, and compute one after the other.

    Example: hierfl device topology.yaml --name east-0

    Example: hierfl device topology.yaml --name east-0 --name west-0

    Example: hierfl device topology.yaml --name east-0 --bench
    """
    config = node_configuration(topology, sets)
    devices = config.devices_of(names)
    if len(devices) > 1 and (bench or config.app is not None):
        raise ConfigError(
            "--name",
            f"{len(devices)} devices, and "
            + ("--bench measures one" if bench else "a Flower app needs a process for each"),
        )
    if config.app is not None and bench:
        raise ConfigError("--bench", "measures hierfl's own tasks, and this is a Flower app")
    if bench:
        one_thread()
        part("clients.bench:run")(config, *devices)
        return
    folder = state_folder(config, state)
    with ExitStack() as stack:
        for name in devices:
            stack.enter_context(owned(folder, name))
            stack.enter_context(logged(config, name))
        if config.app is not None:
            part("deploy.stock_app.client:run_device")(config, *devices)
        else:
            one_thread()
            part("clients.main:run")(config, devices, folder)


Spec = Annotated[str, typer.Argument(help="What `hierfl accelerate` passes to its processes.")]


def app_node(node: Spec) -> None:
    """Run one node of `hierfl accelerate`, which starts it."""
    be_node()
    part("deploy.stock_app.client:run")(node)


def app_server(node: Spec) -> None:
    """Run the ServerApp of `hierfl accelerate`, which starts it."""
    part("deploy.stock_app.server:run")(node)


@contextmanager
def logged(config: Config, name: str) -> Iterator[None]:
    """Log what a node is and for whom it waits, and how it ended; errors are reported elsewhere.

    Raises:
        ConfigError: the topology has no such node.
    """
    role, parent = config.roles().get(name), config.parent_of(name)
    address = config.edge(parent).address if role == "device" else config.cloud.address
    log.info("%s: %s of %s, waiting for %s at %s", name, role, config.name, parent, address)
    try:
        yield
    except KeyboardInterrupt:
        log.info("%s: interrupted; the same command continues", name)
        raise
    log.info("%s: the run is over", name)


def state_folder(config: Config, state: Path | None) -> Path:
    """Return where a node keeps its checkpoints."""
    return state or Path(".hierfl") / config.name
