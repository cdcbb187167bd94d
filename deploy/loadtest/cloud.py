"""The load test's cloud: real rounds and checkpoints, and no model to evaluate."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from cloud.rounds import Journal, Rounds
from cloud.state import CloudState
from deploy.loadtest.meter import Meter
from hierfl.algorithms.schedule import Schedule
from hierfl.config import CLOUD, Config
from hierfl.config.digest import agreed
from hierfl.errors import RunFailed
from hierfl.link.link_grid import LinkGrid
from hierfl.link.parent_options import parent_options
from hierfl.planning.plan import Plan
from hierfl.process.gc_freeze import freeze_heap
from hierfl.protocol.checkpoint_store import CheckpointStore
from hierfl.protocol.vectors import model_hash
from hierfl.protocol.weighing import Weighing
from hierfl.units import plural


def run(config: Config, plan: Plan, state: Path, meter: Meter) -> None:
    """Run all rounds; note each, and at the end the model's hash and the faults.

    Raises:
        RunFailed: if edges do not come, or fail.
    """
    run, settings, timeout = uuid.uuid4().hex, config.algorithm, config.quorum.round_timeout
    checkpoints = CheckpointStore(state, CLOUD, agreed(config)).enter(run)
    with LinkGrid(**parent_options(config, CLOUD), plan=plan.digest.to_text()) as grid:
        grid.open(run=run, max_frame=plan.frame_limit)
        if missing := grid.wait_for_children(timeout):
            raise RunFailed(f"{missing[0]} did not come")
        freeze_heap()
        layout = plan.algorithm.layout
        base, buffers = np.zeros(layout.d, np.float32), np.zeros(0, np.float32)
        assert settings.lr is not None, "the configuration is resolved"
        rounds = Rounds(
            plan,
            grid,
            CloudState.first(plan.algorithm, base, buffers),
            Schedule(settings.schedule, settings.lr, settings.rounds),
            Weighing.of_edges(config, grid.names),
            timeout,
            Journal(checkpoints, run),
        )
        for _ in range(settings.rounds):
            opened = rounds.open()
            meter.note(base=rounds.state.round)
            replies = grid.send_and_receive(opened.orders(), timeout=timeout)
            result = rounds.close(opened, replies)
            meter.note(round=result.round, voters=result.voters)
            _say(result.round, settings.rounds, result.voters)
        devices, faults = rounds.finish()
        checkpoints.finish()
        meter.note(
            hash=model_hash(rounds.state.base),
            payload=devices.up.payload + devices.down.payload,
            faults=asdict(faults),
        )


def _say(round_: int, rounds: int, voters: Mapping[str, int]) -> None:
    """Say on standard error how far it is; in a terminal in one line."""
    end = "\r" if sys.stderr.isatty() and round_ < rounds else "\n"
    line = f"round {round_} of {rounds}, {plural(sum(voters.values()), 'device')}"
    print(line, end=end, file=sys.stderr, flush=True)
