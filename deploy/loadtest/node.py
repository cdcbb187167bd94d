"""One process of a load test: `python -m deploy.loadtest ROLE NAME FOLDER PARAMETERS TOLD`.

A cloud is told nothing (0), an edge at the end of which step to kill itself (0: never), and a
process of devices how many such processes there are.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from deploy.loadtest import cloud, devices
from deploy.loadtest.load import plan_of, read_config
from deploy.loadtest.meter import Meter, StepClock
from edge.main import run as run_edge
from edge.voting import Voting
from hierfl.config import Config
from hierfl.errors import HierflError, render
from hierfl.link.link_grid import LinkGrid
from hierfl.link.steps import StepRound
from hierfl.planning.plan import Plan
from hierfl.process.descriptors import raise_limit
from hierfl.process.flower_log import quiet_flower


def run_watched_edge(config: Config, name: str, folder: Path, meter: Meter, kill: int) -> None:
    """Run an edge; note when its devices are there, and each round's steps.

    Args:
        config: the configuration.
        name: the edge's name.
        folder: the load test's.
        meter: takes the notes.
        kill: the step at the end of which it kills itself, unless it has done so before; 0: never.
    """
    steps, killed = config.algorithm.edge_steps, folder / "checkpoints" / f"{name}.killed"

    def wait(grid: LinkGrid) -> None:
        with suppress(HierflError):  # the run has failed
            grid.wait_for_children()
            meter.note(attached=len(grid.names))

    def on_grid(grid: LinkGrid) -> None:
        clock = StepClock(grid, lambda round_, step: on_step(clock, round_, step))
        threading.Thread(target=wait, args=(grid,), daemon=True).start()

    def on_step(clock: StepClock, round_: StepRound, step: int) -> None:
        assert isinstance(round_, Voting)
        number = round_.journal.round
        if step == steps:
            meter.note(round=number, marks=clock.marks)
        if (number - 1) * steps + step == kill and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    run_edge(config, name, folder / "checkpoints", on_grid=on_grid)


def run_devices(config: Config, plan: Plan, index: int, processes: int, meter: Meter) -> None:
    """Be every so many-th device, from one on."""
    names = [device for edge in config.edges for device in edge.devices]
    positions = {name: i for i, name in enumerate(names)}
    mine = {
        edge.address: [
            (positions[name], name) for name in edge.devices if positions[name] % processes == index
        ]
        for edge in config.edges
    }
    devices.serve(mine, plan, config.quorum.heartbeat, lambda: meter.note(began=True))


def main(arguments: Sequence[str]) -> int:
    """Run one process; return its exit code."""
    try:
        _run(*arguments)
    except HierflError as failed:
        print(render(failed), file=sys.stderr, flush=True)
        return failed.exit_code
    return 0


def _run(role: str, name: str, where: str, parameters: str, told: str) -> None:
    folder = Path(where)
    raise_limit()
    quiet_flower()
    with Meter(folder / "meters" / f"{name}.jsonl") as meter:
        config = read_config(folder / "config.json")
        plan = plan_of(config, int(parameters))
        match role:
            case "cloud":
                cloud.run(config, plan, folder / "checkpoints", meter)
            case "edge":
                run_watched_edge(config, name, folder, meter, int(told))
            case _:
                run_devices(config, plan, int(name.rpartition("-")[2]), int(told), meter)
