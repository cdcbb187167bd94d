"""An uneven tree, under every algorithm: a device, an edge and the cloud are killed in one run."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from cloud.views.base import View
from deploy.launcher.in_process import run_memory
from hierfl.algorithms import BUILT_IN
from hierfl.config import load_config
from hierfl.planning.plan import resolve
from tests.system.harness import LIMIT_S, line_with, metrics, nodes, started, summary

pytestmark = [pytest.mark.system, pytest.mark.slow]

ROUNDS = 30
KILLS = {6: "duo-1", 14: "solo", 22: "cloud"}
"""Whom to kill once so many rounds are done."""

SETS = [
    "data.dataset=tests.system.tiny:load", "model=mlp", "algorithm.batch_size=8",
    "data.partition={kind: dirichlet, alpha: 0.5}", "algorithm.edge_steps=4",
    f"algorithm.rounds={ROUNDS}", "edges.0={name: solo, devices: 1}",
    "edges.1={name: duo, devices: 2}",
]  # fmt: skip


@pytest.mark.parametrize("algorithm", BUILT_IN)
def test_one_kill_on_each_tier_changes_no_bit(algorithm: str, tmp_path: Path) -> None:
    sets = [*SETS, f"algorithm.name={algorithm}"]
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "run"
    undisturbed.mkdir()
    run_memory(resolve(load_config(None, [*sets, "runtime=memory"])), undisturbed, View())

    arguments = [part for text in [*sets, "restart=always"] for part in ("--set", text)]
    with started("run", *arguments, "--out", str(out)) as run:
        for round_, victim in KILLS.items():
            line_with(run, f"round {round_:2d}/")
            ours = [pid for pid, line in nodes(out).items() if f"--name {victim} " in f"{line} "]
            os.kill(ours[0], signal.SIGKILL)
        _, problems = run.communicate(timeout=LIMIT_S)
    assert run.returncode == 0, problems
    assert summary(out)["faults"]["restarts"] == len(KILLS)
    assert summary(out)["model_sha256"] == summary(undisturbed)["model_sha256"]
    assert [line["round"] for line in metrics(out)] == list(range(1, ROUNDS + 1))
