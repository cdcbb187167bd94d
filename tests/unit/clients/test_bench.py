"""`hierfl device --bench`: what it says is what a run then does."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from clients.bench import EXCHANGE_S, bench, cores, lines, step_s
from cloud.views.base import View
from deploy.launcher.in_process import run_memory
from hierfl.algorithms import BUILT_IN
from hierfl.cli import main
from hierfl.config import load_config
from hierfl.planning.plan import resolve

TINY = ["data.dataset=tests.system.tiny:load", "model=mlp", "algorithm.rounds=2",
        "algorithm.edge_steps=3",
        "edges=[{name: east, devices: 3}, {name: west, devices: 2}]"]  # fmt: skip


@pytest.mark.parametrize("algorithm", sorted(BUILT_IN))
def test_every_algorithm_votes_and_is_timed(algorithm: str) -> None:
    config = resolve(load_config(None, [*TINY, f"algorithm.name={algorithm}"]))
    pace = bench(config, "west-1", seconds=0.01)
    assert pace.gradient_s > 0 and pace.vote_s > 0
    assert pace.step_s > pace.vote_s
    assert 100 << 20 < pace.memory < 4 << 30


def test_the_bytes_are_those_of_a_run(tmp_path: Path) -> None:
    config = resolve(load_config(None, TINY))
    pace = bench(config, "east-0", seconds=0.01)
    run_memory(config, tmp_path, View())
    sent = json.loads((tmp_path / "summary.json").read_text())["bytes"]
    device_steps = 2 * 3 * 5
    assert (pace.up * device_steps, pace.down * device_steps) == pytest.approx(
        (sent["device_up"], sent["device_down"])
    )


def test_the_pace_of_the_federation() -> None:
    here = resolve(load_config(None, TINY))
    addresses = ["cloud.address='10.0.0.1:4700'", "security.insecure=true"]
    apart = resolve(load_config(None, [*TINY, *addresses]))
    assert step_s(apart, 0.5) == pytest.approx(0.5 + 3 * EXCHANGE_S)
    assert step_s(here, 0.5) == pytest.approx((0.5 + EXCHANGE_S) * max(1, 5 / cores()))


def test_what_a_person_reads() -> None:
    config = resolve(load_config(None, TINY))
    head, gradient, vote, sends, sent, pace, memory = lines(
        config, "east-0", bench(config, "east-0", seconds=0.01)
    )
    assert head.startswith("east-0: mlp of ") and "batch 64, 1 torch thread" in head
    assert "ms" in gradient and "hier-signsgd" in vote
    assert "a step" in sends and "Mbit/s" in sent
    assert "6 steps in 0:00" in pace and "all 5 devices on" in pace
    assert memory.endswith("MB at its peak")


def test_the_command_connects_to_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("clients.bench.SECONDS", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as edge:
        edge.setblocking(False)
        address = f"edges.0.address='127.0.0.1:{edge.getsockname()[1]}'"
        (tmp_path / "t.yaml").write_text("edges: [{name: east, devices: 2}]\n")
        sets = [part for key in [*TINY, address] for part in ("--set", key)]
        with pytest.raises(SystemExit) as end:
            main(["device", "t.yaml", "--name", "east-0", "--bench", *sets])
        with pytest.raises(BlockingIOError):
            edge.accept()
    assert not end.value.code
    assert len(capsys.readouterr().out.splitlines()) == 7
    assert [file.name for file in tmp_path.iterdir()] == ["t.yaml"]
