"""`from hierfl import Topology, run, load_run, compare`: the same runs as from a shell."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import hierfl
from cloud.views.base import EdgeProgress, RoundEvaluated, RunFinished, TrainingStarted
from hierfl import Callback, Topology, compare, load_run, run
from hierfl.errors import ConfigError, render
from hierfl.learning.saved import load_model
from tests.unit.conftest import Run

KEYS: dict[str, Any] = {
    "model": {"mlp": {"hidden": [16]}},
    "data": {"dataset": "digits"},
    "algorithm": {"rounds": 3, "edge_steps": 4},
    "edges": [{"name": "east", "devices": 2}, {"name": "west", "devices": 2}],
}


class Kept(Callback):
    def __init__(self) -> None:
        self.events: list[Any] = []
        self.closed = 0

    def handle(self, event: Any) -> None:
        self.events.append(event)

    def close(self) -> None:
        self.closed += 1


class Broken(Callback):
    def handle(self, event: Any) -> None:
        raise ZeroDivisionError("a mistake of the user's")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_topology_has_the_keys_and_the_errors_of_the_file(tmp_path: Path) -> None:
    tree = Topology(**KEYS)
    tree.save("tree.yaml")
    assert Topology("tree.yaml").config == tree.config
    assert Topology("tree.yaml", sets=["seed=7"], name="mine").config.seed == 7
    assert tree.replace("algorithm.lr=0.5").config.algorithm.lr == 0.5
    assert tree.config.algorithm.lr is None and KEYS["algorithm"] == {"rounds": 3, "edge_steps": 4}
    assert Topology().config == hierfl.load_config(None)
    with pytest.raises(ConfigError, match=r"algorithm.rouns.*did you mean algorithm.rounds"):
        Topology(algorithm={"rouns": 3})
    with pytest.raises(ConfigError, match="2 keys are wrong"):
        Topology(seed=-1, algorithm={"rounds": 0})
    with pytest.raises(ConfigError, match="no such file"):
        Topology(tmp_path / "nowhere.yaml")


def test_a_run_in_memory_is_the_run_of_the_shell(
    hierfl: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Kept()
    result = run(Topology(**KEYS), runtime="memory", out="here", callbacks=[Broken(), kept])
    assert "round 3/3" in capsys.readouterr().out
    Topology(**KEYS).save("tree.yaml")
    assert hierfl("run", "tree.yaml", "--set", "runtime=memory", "--out", "shell").code == 0
    summary = json.loads(Path("shell/summary.json").read_text())
    assert result.summary is not None
    assert result.summary["model_sha256"] == summary["model_sha256"]
    assert result.bytes == summary["bytes"]
    kinds = [type(event) for event in kept.events]
    assert kinds[0] is TrainingStarted and kinds[-1] is RunFinished and kept.closed == 1
    assert EdgeProgress in kinds
    rounds = [event.metrics.to_json() for event in kept.events if isinstance(event, RoundEvaluated)]
    assert rounds == [dict(row) for row in result.metrics]


def test_a_run_says_what_it_has_learnt() -> None:
    result = run(KEYS, runtime="memory", out="here", progress=False)
    again = load_run("here")
    assert [*again.metrics] == [*result.metrics] and again.main_metric == "accuracy"
    assert str(result) == str(again)
    assert result.metrics.column("accuracy")[-1] == result.summary["accuracy"]  # type: ignore[index]
    flat = np.concatenate([p.detach().numpy().ravel() for p in result.model().parameters()])
    assert flat.tobytes() == load_model("here").flat().weights.tobytes()
    html = result._repr_html_()
    assert result.summary["model_sha256"] in html  # type: ignore[index]
    pytest.importorskip("matplotlib")
    assert "data:image/png;base64," in html
    (line,) = result.plot(x="bytes").axes[0].lines
    assert list(line.get_ydata()) == result.metrics.column("accuracy")
    with pytest.raises(ConfigError, match="nonsense"):
        result.plot(y="nonsense")


def test_metrics_are_a_table_for_pandas() -> None:
    pytest.importorskip("pandas")
    result = run(KEYS, runtime="memory", progress=False)
    table = result.metrics.to_pandas()
    assert list(table.index) == [1, 2, 3]
    assert table["bytes.device_up"].iloc[-1] == result.bytes["device_up"]


def test_wrong_topologies_and_folders_raise_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match="no such file"):
        run("nowhere.yaml")
    with pytest.raises(ConfigError, match=r"runtime"):
        run(KEYS, runtime="threads")  # type: ignore[arg-type]
    run({**KEYS, "algorithm": {"rounds": 1}}, runtime="memory", out="done", progress=False)
    with pytest.raises(ConfigError, match="holds an earlier run's"):
        run({**KEYS, "algorithm": {"rounds": 1}}, runtime="memory", out="done", progress=False)
    with pytest.raises(ConfigError, match="is no run folder"):
        load_run("nowhere")


def test_a_callback_that_fails_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        run({**KEYS, "algorithm": {"rounds": 1}}, runtime="memory", callbacks=[Broken()])
    assert "the view failed: ZeroDivisionError: a mistake of the user's" in caplog.text


@pytest.mark.system
def test_processes_give_the_same_bits_and_the_same_events(
    capfd: pytest.CaptureFixture[str],
) -> None:
    kept = Kept()
    result = run(KEYS, runtime="process", out="process", callbacks=[kept])
    memory = run(KEYS, runtime="memory", out="memory", progress=False)
    assert result.summary is not None and memory.summary is not None
    assert result.summary["model_sha256"] == memory.summary["model_sha256"]
    rounds = [event.metrics.to_json() for event in kept.events if isinstance(event, RoundEvaluated)]
    assert rounds == [dict(row) for row in result.metrics]
    assert isinstance(kept.events[-1], RunFinished) or kept.events[-1].attached is False
    assert capfd.readouterr().out.count("round 3/3") == 1


@pytest.mark.system
def test_algorithms_side_by_side_and_no_run_is_made_twice() -> None:
    names = ["hier-signsgd", "ef-fedavg{local_steps=2}"]
    found = compare(KEYS, algorithms=names, seeds=[1, 2], out="out")
    assert list(found.runs) == names
    assert [run.config.seed for run in found.runs[names[1]]] == [1, 2]
    row = found.table()[1]
    finals = [run.metrics[-1]["accuracy"] for run in found.runs[names[1]]]
    assert (row["algorithm"], row["metric"]) == (names[1], "accuracy")
    assert row["mean"] == pytest.approx(sum(finals) / 2)
    assert "ef-fedavg{local_steps=2}" in found._repr_html_()
    written = [file.stat().st_mtime_ns for file in sorted(Path("out").glob("*/summary.json"))]
    compare(KEYS, algorithms=names, seeds=[1, 2], out="out")
    again = [file.stat().st_mtime_ns for file in sorted(Path("out").glob("*/summary.json"))]
    assert again == written and len(written) == 4
    pytest.importorskip("matplotlib")
    assert len(found.plot().axes[0].lines) == 2


WRONG = [
    "edges: []",
    "edges: [{name: east, devices: 0}]",
    "edges: [{name: east, devices: [a, a]}]",
    "edges: [{name: east, devices: 1}, {name: east, devices: 1}]",
    "edges: [{name: 'no spaces here', devices: 1}]",
    "{edges: [{name: e, devices: 1}], algorithm: {rouns: 3}}",
    "{edges: [{name: e, devices: 1}], algorithm: {rounds: many}}",
    "{edges: [{name: e, devices: 1}], algorithm: {name: fedsgdd}}",
    "{edges: [{name: e, devices: 1}], data: {dataset: minst}, runtime: memory}",
    "{edges: [{name: e, devices: 1}], data: {partition: {kind: iid, alpha: 1}}}",
    "{edges: [{name: e, devices: 1}], seed: -1, runtime: threads}",
    "{edges: [{name: e, devices: 1}], downlink: {codec: qsgd, fraction: 0.1}}",
    "{edges: [{name: e, devices: 1}], model: {mlp: {hiden: [3]}}, runtime: memory}",
    "{edges: [{name: e, devices: 1}], quorum: {devices: 1.5}}",
    "{edges: [{name: e, devices: 1}], metrics: {otlp: 'collector:4318'}}",
    "{edges: [{name: e, devices: 1}], metrics: {prometheus: here}}",
    "{edges: [{name: e, devices: 1}], faults: {sign_flip: [f]}}",
]


@pytest.mark.parametrize("text", WRONG)
def test_a_topology_of_python_has_the_errors_of_a_file(text: str, hierfl: Run) -> None:
    Path("tree.yaml").write_text(text)
    by_file = hierfl("validate", "tree.yaml")
    assert by_file.code == 2
    with pytest.raises(ConfigError) as by_python:
        run(yaml.safe_load(text))
    said = render(by_python.value).splitlines()
    expected = [line.replace("tree.yaml: ", "") for line in by_file.err.splitlines()]
    assert said == [line for line in expected if line != "  This is in tree.yaml."]
