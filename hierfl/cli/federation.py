"""The commands `hierfl run` and `hierfl validate`."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hierfl.cli.options import AcceptLoss, Out, Page, Required, Sets, Topology
from hierfl.cli.parts import (
    PROCESSES,
    claimed,
    configuration,
    listening,
    one_thread,
    pages,
    part,
    run_here,
)
from hierfl.errors import ConfigError
from hierfl.process.flower_log import quiet_flower

if TYPE_CHECKING:
    from hierfl.config import Config


GO_ON = "interrupted; to continue this run: hierfl run --resume --out {out}"

LAUNCH = "deploy.launcher.local:run_local"


class Testbed(StrEnum):
    """The kinds of testbeds."""

    NETNS = "netns"


def run(
    topology: Topology = None,
    sets: Sets = [],  # noqa: B006  (typer copies it)
    out: Out = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the unfinished run in --out.")
    ] = False,
    accept_loss: AcceptLoss = False,
    testbed: Annotated[
        Testbed | None,
        typer.Option(
            help="Run every node in its own network namespace, with the topology's `links`."
        ),
    ] = None,
    page: Page = None,
    controls: Annotated[
        bool,
        typer.Option(
            "--controls", help="On a testbed: let the page kill nodes and cut links of the run."
        ),
    ] = False,
) -> None:
    """Run a whole federation on this machine.

    Without a topology, it runs the default federation: 2 edges with 3
    devices each, on Fashion-MNIST.

    Example: hierfl run topology.yaml --set algorithm.rounds=5

    Example: hierfl run --resume --out runs/first

    Example: hierfl run topology.yaml --page

    Example: sudo hierfl run topology.yaml --testbed netns --page --controls
    """
    if controls and not (testbed and page):
        raise ConfigError("--controls", "needs a testbed and a page", "Add --testbed netns --page.")
    endpoint = listening(page)
    if resume:
        topology = _unfinished(topology, sets, out)
    elif accept_loss:
        raise ConfigError("--accept-loss", "only a run that is resumed can have lost something")
    # The fork server imports torch while this process reads the configuration.
    with part(PROCESSES)() as processes:
        config = configuration(topology, sets)
        if config.runtime == "process":
            _check_identities(config)
            if config.app is not None and page is not None:
                raise ConfigError("--page", "there is no page of a Flower app's run yet")
            if config.hosts and testbed is not None:
                raise ConfigError(
                    "hosts",
                    "on a testbed each device has a link, and so a process, of its own",
                    "Leave out hosts: --set 'hosts={}'.",
                )
        elif testbed is not None:
            raise ConfigError(
                "--testbed",
                "runtime: memory runs in one process and has no links",
                "Set runtime=process.",
            )
        elif resume:
            raise ConfigError(
                "--resume",
                "a run in one process (runtime: memory) keeps no checkpoints",
                "Start it again, in another folder.",
            )
        how: dict[str, Any] = {"source": topology, "resume": resume, "accept_loss": accept_loss}
        if config.runtime == "process":
            launch = "deploy.testbed.build:run_testbed" if testbed else LAUNCH
            with (
                claimed(config, out, nodes=config.roles(), go_on=GO_ON, **how) as folder,
                ExitStack() as stack,
            ):
                told = {}
                actions = (
                    part("deploy.testbed.controls:Controls")(config).actions if controls else None
                )
                for view in pages(config, folder, endpoint, actions):
                    told["view"] = stack.enter_context(closing(view))
                part(launch)(config, out=folder, processes=processes, **told)
            return
    quiet_flower()
    with claimed(config, out, **how) as folder:
        run_here(
            "deploy.launcher.in_process:run_memory", config, folder, pages(config, folder, endpoint)
        )


def validate(topology: Required, sets: Sets = []) -> None:  # noqa: B006
    """Check a topology, and show its tree and the bytes that each link will carry.

    Example: hierfl validate topology.yaml
    """
    config = configuration(topology, sets)
    if config.app is not None:
        print(part("deploy.stock_app.describe:described")(config))
        return
    one_thread()
    from hierfl.planning.describe import show

    show(config, sys.stdout)


def _check_identities(config: Config) -> None:
    """Check the certificates of all nodes, which will run on this machine."""
    from hierfl.tls.policy import identity

    for name in config.roles():
        identity(config, name)


def _unfinished(topology: Path | None, sets: list[str], out: Path | None) -> Path:
    """Return the configuration file of an unfinished run."""
    if out is None or topology is not None or sets:
        raise ConfigError(
            "--resume",
            "a resumed run keeps its configuration",
            "Give --out DIR with it, and no topology and no --set.",
        )
    if (out / "summary.json").exists():
        raise ConfigError("--resume", f"the run in {out} is finished")
    if not (out / "config.yaml").exists():
        raise ConfigError("--resume", f"{out} holds no unfinished run: it has no config.yaml")
    return out / "config.yaml"
