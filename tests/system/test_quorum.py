"""A share of the devices is enough, where the topology says so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.system.harness import LIMIT_S, TINY, line_with, nodes, started, wait_until

pytestmark = pytest.mark.system

SETS = [*TINY, "--set", "algorithm.rounds=100000", "--set", "algorithm.schedule=constant",
        "--set", "edges.0.devices=3", "--set", "edges.1.devices=1",
        "--set", "quorum.devices=0.6", "--set", "quorum.step_timeout=0.2",
        "--set", "quorum.max_missed=3"]  # fmt: skip


def rounds_until(
    run: subprocess.Popen[str], out: Path, holds: Callable[[dict[str, Any]], bool]
) -> int:
    """Let the run go on until a round's line holds; return how many rounds that took."""
    for count in range(200):
        line_with(run, "accuracy")
        if holds(json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])):
            return count
    raise AssertionError("that round never came")


def test_a_stopped_device_is_done_without_and_comes_back(tmp_path: Path) -> None:
    with started("run", *SETS, "--out", str(tmp_path)) as run:
        rounds_until(run, tmp_path, lambda line: line["quorum"]["east"] == 3)
        pid = next(pid for pid, text in nodes(tmp_path).items() if "--name east-1 " in f"{text} ")
        os.kill(pid, signal.SIGSTOP)
        rounds_until(run, tmp_path, lambda line: line["quorum"]["east"] == 2)
        log = (tmp_path / "logs" / "east.log").read_text
        rounds_until(run, tmp_path, lambda line: "east-1 is away: nobody waits" in log())
        # Once it is away, nobody waits for it: 20 rounds of 4 steps with a 0.2 s timeout each
        # would take 16 s.
        before = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["wall_s"]
        for _ in range(20):
            line_with(run, "accuracy")
        after = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["wall_s"]
        assert after - before < 16
        os.kill(pid, signal.SIGCONT)
        rounds_until(run, tmp_path, lambda line: line["quorum"]["east"] == 3)
        assert "east-1 is back" in log()
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=LIMIT_S)
    assert run.returncode == 130
    assert not nodes(tmp_path)


def test_below_the_quorum_the_edge_waits_and_says_for_whom(tmp_path: Path) -> None:
    with started("run", *SETS, "--out", str(tmp_path)) as run:
        rounds_until(run, tmp_path, lambda line: True)
        pids = [p for p, text in nodes(tmp_path).items() if "--name east-1" in text]
        pids += [p for p, text in nodes(tmp_path).items() if "--name east-2" in text]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        log = (tmp_path / "logs" / "east.log").read_text
        wait_until(lambda: "still waiting for east-1, east-2\n" in log())
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        rounds_until(run, tmp_path, lambda line: line["quorum"]["east"] == 3)
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=LIMIT_S)
    assert run.returncode == 130
