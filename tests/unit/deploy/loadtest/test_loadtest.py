"""`hierfl loadtest`: real processes, a killed edge, and the bits that the votes come to."""

from __future__ import annotations

import json
import re
import resource
from pathlib import Path

import numpy as np
import pytest

from deploy.loadtest import limits
from deploy.loadtest.devices import BALLOTS, EXAMPLES, prepared
from deploy.loadtest.figures import Notes
from deploy.loadtest.load import Kill, Load, plan_of, read_config, write_config
from deploy.loadtest.main import measure
from hierfl.algorithms.base import Step, WeightedReport
from hierfl.algorithms.schedule import Schedule
from hierfl.codecs import error_feedback
from hierfl.config import CLOUD
from hierfl.errors import ConfigError
from hierfl.link import frames
from hierfl.protocol.vectors import model_hash

LOAD = Load(devices=10, edges=2, parameters=1003, steps=3, kill=Kill("edge-1", 2))


def expected(load: Load) -> str:
    """Return the hash that the prepared votes come to, counted without a link."""
    config = load.config()
    plan, settings = plan_of(config, load.parameters), config.algorithm
    assert settings.lr is not None
    algorithm, frame = plan.algorithm, prepared(load.parameters)
    schedule = Schedule(settings.schedule, settings.lr, settings.rounds)
    base = np.zeros(load.parameters, np.float32)
    residual, state = np.zeros_like(base), algorithm.cloud_state()
    positions = {
        name: i for i, name in enumerate(n for names in config.tree().values() for n in names)
    }
    for round_ in range(1, settings.rounds + 1):
        reports, lr = [], schedule.rate(round_)
        for edge, names in config.tree().items():
            count = algorithm.edge_round(algorithm.edge_state(), [EXAMPLES] * len(names))
            for step in range(1, settings.edge_steps + 1):
                for device, name in enumerate(names):
                    said = frame(round_, step, (positions[name] + step) % BALLOTS)
                    count.add(device, frames.parse(said).ballot.ballot)
                count.decide(Step(config.seed, edge, round_, step, lr))
            share = len(names) / load.devices
            report = count.report(Step(config.seed, edge, round_, settings.edge_steps, lr))
            reports.append(WeightedReport(share, report))
        at = Step(config.seed, CLOUD, round_, 0, lr)
        residual += algorithm.change(state, reports, at).model
        base += error_feedback.send_with(plan.downlink, residual, at.draw("downlink"))[1]
    return model_hash(base)


@pytest.mark.system
def test_a_killed_edge_loses_no_vote(tmp_path: Path) -> None:
    _, figures = measure(LOAD, tmp_path)
    assert figures.hash == expected(LOAD)
    assert figures.lost == 0
    assert figures.faults["restarts"] == 1  # the edge, at the cloud
    assert figures.steps == 3
    assert 0 < figures.step_s <= figures.step_p95_s
    assert figures.edge_cpu_s > 0
    assert figures.child_cpu_s >= 0
    assert figures.memory > 1e7
    assert max(figures.shares.values()) == next(iter(figures.shares.values()))
    assert not list((tmp_path / "checkpoints").rglob("*.ckpt"))


def test_steps_are_made_up_to_whole_rounds() -> None:
    assert (Load(1, steps=3).edge_steps, Load(1, steps=3).rounds) == (3, 1)
    assert (Load(1, steps=25).edge_steps, Load(1, steps=25).rounds) == (10, 3)


def test_devices_are_spread_evenly() -> None:
    sizes = [len(names) for names in Load(11, 3).tree().values()]
    assert sorted(sizes) == [3, 4, 4]


def test_a_configuration_survives_its_file(tmp_path: Path) -> None:
    config = Load(7, 2).config()
    write_config(config, tmp_path / "config.json")
    assert read_config(tmp_path / "config.json") == config


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (Load(2, 3), "3 edges for 2 devices"),
        (Load(2, 2, kill=Kill("edge-2", 1)), "there is no edge-2"),
        (Load(2, 2, steps=10, kill=Kill("edge-1", 11)), "there is no step 11"),
        (Load(10_000, 10, 100_000_000), "of memory"),
    ],
)
def test_what_is_no_load_test_is_refused(load: Load, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        limits.check(load, 2)


@pytest.mark.parametrize("text", ["edge-1", "edge-1@", "@3", "edge-1@x", "edge-1@-1"])
def test_what_says_no_kill_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="EDGE@STEP"):
        Kill.read(text)


def test_more_devices_than_descriptors_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 4096))
    limits.check(Load(700, 1), 1)
    with pytest.raises(ConfigError, match="800 devices of an edge need 1,056 descriptors"):
        limits.check(Load(800, 1), 1)
    with pytest.raises(ConfigError, match="800 devices of a process need 1,056 descriptors"):
        limits.check(Load(800, 4), 1)


def test_the_notes_of_a_killed_process_are_those_of_two(tmp_path: Path) -> None:
    samples = [(0, 1.0, 10), (10, 5.0, 30), (20, 0.5, 10), (30, 2.5, 20)]
    file = tmp_path / "edge-0.jsonl"
    lines = [json.dumps({"at": at, "cpu": cpu, "rss": rss}) for at, cpu, rss in samples]
    file.write_text("\n".join([*lines[:2], '{"at": 12, "cp', *lines[2:]]))
    notes = Notes.read(file)
    assert [len(life) for life in notes.lives()] == [2, 2]
    assert notes.cpu(5, 25) == pytest.approx(2 + 1)
    assert notes.growth(0, 40) == 20
    assert notes.growth(15, 40) == 10
    assert notes.growth(50, 60) == 0
