"""`link = "flower"`: both tiers on Flower's messages alone, here between nodes in one process."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flwr.supercore.run import RunStatus

from deploy.flower.invitation import Invitation, Node
from deploy.flower.polling import grid, run, run_monitor
from deploy.flower.settings import gathering
from hierfl.errors import RunFailed
from tests.system.harness import summary
from tests.unit.conftest import Run
from tests.unit.deploy.flower.local_superlink import LocalSuperLink
from tests.unit.deploy.flower.test_settings import RUN_CONFIG

TREE = {"east": ["east-0", "east-1"], "west": ["west-0"]}
KEYS = {
    "model": "mlp", "data.dataset": "tests.system.tiny:load", "algorithm.edge_steps": 2,
    "algorithm.rounds": 2,
}  # fmt: skip
LIMIT_S = 60.0


class Edges:
    """The edges' own SuperLinks, and the runs there.

    Attributes:
        state: of the cloud's run, as its SuperLink has it.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        self.state: RunStatus | None = RunStatus("running", "", "")
        self.runs: dict[str, Future[None]] = {}
        self.began = threading.Event()
        self._threads = ThreadPoolExecutor(len(TREE))
        self._home = home
        monkeypatch.setattr(run_monitor, "EVERY_S", 0.0)
        monkeypatch.setattr(run_monitor, "run_status", lambda superlink, run_id: lambda: self.state)
        monkeypatch.setattr(run, "LOOK_S", 0.05)
        monkeypatch.setattr(grid, "EVERY_S", 0.01)
        monkeypatch.setattr("deploy.flower.edge.submit", self._submit)
        monkeypatch.setenv("FLWR_HOME", str(home))

    def _submit(self, node: Node, invitation: Invitation, app: Path, link: str) -> None:
        devices = TREE[node.name]
        own = replace(
            gathering(RUN_CONFIG), tier="edge", link=link, upstream=invitation.address,
            token=invitation.token, node=node.name, wait=LIMIT_S, devices=len(devices),
        )  # fmt: skip
        below = LocalSuperLink(*(("", {"name": device}) for device in devices))
        self.runs[node.name] = self._threads.submit(run.edge, below, own, self._home)


def cloud(out: Path) -> None:
    config: dict[str, Any] = RUN_CONFIG | KEYS | {"devices": 3, "link": "flower", "out": str(out)}
    superlink = LocalSuperLink(*(("", {"name": name, "superlink": name}) for name in TREE))
    run.cloud(superlink, gathering(config), config)


def test_the_bits_are_those_of_the_direct_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hierfl: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    edges = Edges(monkeypatch, tmp_path / "home")
    cloud(tmp_path / "run")
    assert "this run sends about 11, one after the other: 0:00:0" in capsys.readouterr().out
    for ended in edges.runs.values():
        ended.result(LIMIT_S)  # they have ended, and well
    sets = [part for key, value in KEYS.items() for part in ("--set", f"{key}={value}")]
    tree = ["--set", "edges.0.devices=2", "--set", "edges.1.devices=1", "--set", "runtime=memory"]
    assert hierfl("run", *tree, *sets, "--out", tmp_path / "direct").code == 0
    shas = {summary(tmp_path / out)["model_sha256"] for out in ("run", "direct")}
    assert len(shas) == 1


def test_the_edges_end_with_a_run_that_is_stopped_while_their_devices_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    edges, free = Edges(monkeypatch, tmp_path / "home"), threading.Event()

    def work(*question: object) -> bytes:
        edges.state = RunStatus("finished", "stopped", "")
        assert free.wait(LIMIT_S)
        return b""

    monkeypatch.setattr(run, "device_frame", work)
    monkeypatch.setattr(grid, "GOODBYE_S", 0.1)
    with pytest.raises(RunFailed, match=r"the run is over|the edge's own run does not answer"):
        cloud(tmp_path / "run")
    for ended in edges.runs.values():
        with pytest.raises(RunFailed, match="the cloud's run has stopped"):
            ended.result(LIMIT_S)
    free.set()
