"""The commands that run a whole federation, or say what it would be."""

from __future__ import annotations

import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hierfl.cli.options import Out, Required, Sets, Topology
from hierfl.cli.parts import (
    claim,
    configuration,
    one_thread,
    part,
    quiet_flower,
    run_here,
    terminate,
)
from hierfl.errors import ConfigError

if TYPE_CHECKING:
    from hierfl.config import Config


class Testbed(StrEnum):
    """What kind of network a federation on this machine gets."""

    NETNS = "netns"


def run(
    topology: Topology = None,
    sets: Sets = [],  # noqa: B006  (typer copies it)
    out: Out = None,
    resume: Annotated[bool, typer.Option(help="Go on with the unfinished run in --out.")] = False,
    testbed: Annotated[
        Testbed | None,
        typer.Option(help="Give every node a network namespace, and shape the topology's links."),
    ] = None,
) -> None:
    """Run a whole federation on this machine."""
    if resume:
        topology = _unfinished(topology, sets, out)
    config = configuration(topology, sets)
    if config.runtime == "process":
        _check_identities(config)
    elif testbed is not None:
        raise ConfigError("--testbed", "a federation in one process (runtime: memory) has no links")
    folder = claim(config, out, topology, resume=resume)
    if config.runtime == "memory":
        signal.signal(signal.SIGTERM, terminate)
        quiet_flower()
        run_here("deploy.launcher.in_process:run_memory", config, folder)
    else:
        signal.signal(signal.SIGTERM, terminate)
        launch = (
            "deploy.testbed.build:run_testbed" if testbed else "deploy.launcher.local:run_local"
        )
        raise typer.Exit(part(launch)(config, out=folder))


def validate(topology: Required, sets: Sets = []) -> None:  # noqa: B006
    """Check a topology, and show its tree and the bytes that it will send."""
    config = configuration(topology, sets)
    one_thread()
    from hierfl.planning.describe import show

    show(config, sys.stdout)


def _check_identities(config: Config) -> None:
    """See that all nodes, which will be on this machine, can show who they are."""
    from hierfl.tls.policy import identity

    for name in config.roles():
        identity(config, name)


def _unfinished(topology: Path | None, sets: list[str], out: Path | None) -> Path:
    """Return the configuration of an unfinished run."""
    if out is None or topology is not None or sets:
        raise ConfigError(
            "--resume", "a run goes on exactly as it was", "Give --resume and --out DIR, no more."
        )
    if not (out / "checkpoints").is_dir():
        raise ConfigError("--resume", f"{out} holds no run to go on with")
    return out / "config.yaml"
