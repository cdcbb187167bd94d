"""Devices with data of their own, as real processes: enrolled first, and whoever is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hierfl.protocol.facts import Facts
from tests.system.harness import ENVIRONMENT, LIMIT_S, hierfl, metrics, nodes, summary

pytestmark = pytest.mark.system

LABELS = {"east-0": ("off", "on"), "east-1": ("on",), "west-0": ("broken", "off")}
ROWS = {"east-0": 40, "east-1": 90, "west-0": 25}
EXACT = "enrolled with {} samples of 155 in all"


def write(folder: Path, name: str, columns: str = "x,y,z") -> None:
    """Write a device's table."""
    draw = np.random.default_rng(len(name) + ROWS[name])
    lines = [f"{columns},state"]
    for i in range(ROWS[name]):
        label = LABELS[name][i % len(LABELS[name])]
        values = draw.normal(len(label), (1, 4, 9))
        lines.append(",".join([*(f"{value:.5f}" for value in values), label]))
    (folder / name).mkdir(parents=True)
    (folder / name / "rows.csv").write_text("\n".join(lines) + "\n")


def sets(folder: Path) -> list[str]:
    return [
        "data.dataset={csv: {target: state}}", f"data.root={folder}/{{name}}",
        "data.partition.kind=own", "model=mlp", "restart=always",
        "algorithm.edge_steps=4", "algorithm.rounds=4", "algorithm.batch_size=8",
        "edges.0.devices=2", "edges.1.devices=1",
    ]  # fmt: skip


def arguments(chosen: list[str]) -> list[str]:
    return [part for text in chosen for part in ("--set", text)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each device."""
    folder = tmp_path_factory.mktemp("data")
    for name in LABELS:
        write(folder, name)
    return folder


@pytest.fixture(scope="module")
def in_memory(data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of the run in one process."""
    out = tmp_path_factory.mktemp("memory") / "run"
    done = hierfl("run", *arguments(sets(data)), "--set", "runtime=memory", "--out", str(out))
    assert done.returncode == 0, done.stderr
    return str(summary(out)["model_sha256"])


MOMENTS = {
    "": ("", "", ""),
    "a device waits": ("east-1", "hierfl.link.enrol_client:EnrolClient._ask@1:after", "east-0"),
    "an edge has merged": ("east", "hierfl.protocol.enrolment:Gathering.facts@1:after", "east"),
    "an edge has told": ("west", "edge.enrolment:tell@1:after", "west"),
    "the cloud has kept": ("cloud", "hierfl.protocol.enrolment:KeptFacts.keep@1:after", "cloud"),
    "an edge votes": ("east", "edge.voting:Voting._take@11:after", "east"),
    "a device votes": ("west-0", "clients.device:Device._ballot@7:after", "west-0"),
    "the cloud averages": ("cloud", "cloud.strategy:HierStrategy.aggregate_train@2:after", "cloud"),
}  # fmt: skip
OFTEN = ("", "the cloud has kept", "an edge votes", "a device votes")


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(moment, marks=[] if moment in OFTEN else [pytest.mark.slow])
        for moment in MOMENTS
    ],
)
def test_processes_enrol_and_end_in_the_bits_of_one_process(
    moment: str, data: Path, in_memory: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    if moment:
        script = Path(__file__).with_name("sabotaged_run.py")
        command = [sys.executable, str(script), str(out), *MOMENTS[moment], *sets(data)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT_S, env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    else:
        done = hierfl("run", *arguments(sets(data)), "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert not moment or (out / "sabotaged").exists(), "the moment never came"
    assert summary(out)["model_sha256"] == in_memory
    assert [line["round"] for line in metrics(out)] == [1, 2, 3, 4]
    facts = Facts.from_bytes((out / "facts.json").read_bytes())
    assert facts.labels == ("broken", "off", "on") and facts.examples == 155
    for name, rows in ROWS.items():
        assert EXACT.format(rows) in (out / "logs" / f"{name}.log").read_text()
    assert not nodes(out)


def test_a_column_that_is_missing_on_one_device_is_named(data: Path, tmp_path: Path) -> None:
    for name in LABELS:
        write(tmp_path, name, "x,v,z" if name == "west-0" else "x,y,z")
    out = tmp_path / "run"
    chosen = [*sets(tmp_path), "restart=never"]
    done = hierfl("run", *arguments(chosen), "--out", str(out))
    assert done.returncode == 1
    for words in ("west", "the column 'y' is missing at west"):
        assert words in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) < 40
    assert "turned away west: west and east" in (out / "logs" / "cloud.log").read_text()
    assert not nodes(out)


EVALUATE = [
    "data.validation=0.25", "algorithm.rounds=8", "algorithm.lr=0.01",
    "evaluate={metric: accuracy, stop_at: 0.7, keep_best: true}",
]  # fmt: skip


def test_devices_judge_and_the_run_stops_at_its_target(data: Path, tmp_path: Path) -> None:
    lines = {}
    for runtime in ("memory", "process"):
        out = tmp_path / runtime
        chosen = [*sets(data), *EVALUATE, f"runtime={runtime}"]
        done = hierfl("run", *arguments(chosen), "--out", str(out))
        assert done.returncode == 0, done.stderr
        assert "worst device accuracy" in done.stdout and "stopped early" in done.stdout
        lines[runtime] = metrics(out)
        for line in lines[runtime]:
            del line["wall_s"]
    assert lines["memory"] == lines["process"]
    last = lines["process"][-1]
    assert last["accuracy"] >= 0.7 > lines["process"][-2]["accuracy"]
    assert last["worst"]["edge"] in ("east", "west")
    said = [summary(tmp_path / runtime) for runtime in lines]
    for one in said:
        assert one["rounds"] == last["round"] < 8
        assert one["stopped"].startswith("accuracy has reached 0.7")
        assert one["best"]["round"] == last["round"]
    assert said[0]["model_sha256"] == said[1]["model_sha256"]
    best, model = (tmp_path / "process" / f"{n}.safetensors" for n in ("best", "model"))
    assert best.read_bytes() == model.read_bytes()


def test_a_cloud_that_is_to_judge_needs_data(data: Path, tmp_path: Path) -> None:
    chosen = [*sets(data), "evaluate.at=cloud", "runtime=memory"]
    done = hierfl("run", *arguments(chosen), "--out", str(tmp_path / "run"))
    assert done.returncode == 2
    assert "evaluate.at" in done.stderr and "validation" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["the cloud averages", "an edge votes", "a device votes"])
def test_a_kill_changes_no_figure(moment: str, data: Path, tmp_path: Path) -> None:
    chosen = [*sets(data), *EVALUATE]
    done = hierfl(
        "run", *arguments(chosen), "--set", "runtime=memory", "--out", str(tmp_path / "memory")
    )
    assert done.returncode == 0, done.stderr
    out = tmp_path / "run"
    script = Path(__file__).with_name("sabotaged_run.py")
    command = [sys.executable, str(script), str(out), *MOMENTS[moment], *chosen]
    killed = subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT_S, env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert killed.returncode == 0, killed.stderr
    assert (out / "sabotaged").exists(), "the moment never came"
    names = ("round", "accuracy", "loss", "worst")
    figures = [
        [[line[name] for name in names] for line in metrics(where)]
        for where in (tmp_path / "memory", out)
    ]
    assert figures[0] == figures[1]
    ends = [summary(where) for where in (tmp_path / "memory", out)]
    for name in ("model_sha256", "stopped", "best"):
        assert ends[0][name] == ends[1][name]


BAD = {
    "a value that is none": ("rows.csv, line 4, column x", 1),
    "an empty folder": ("no file is named like *.csv", 1),
    "one sample and BatchNorm": ("BatchNorm", 2),
    "a figure that is none": ("the task has no figure 'r2'; it has", 2),
}


@pytest.mark.parametrize(
    "what",
    [pytest.param(what, marks=[] if "figure" in what else [pytest.mark.slow]) for what in BAD],
)
def test_what_one_device_cannot_learn_from_is_one_screen(what: str, tmp_path: Path) -> None:
    for name in LABELS:
        write(tmp_path, name)
    rows = tmp_path / "east-1" / "rows.csv"
    lines = rows.read_text().splitlines(keepends=True)
    chosen = [*sets(tmp_path), "restart=never"]
    match what:
        case "a value that is none":
            lines[3] = "nan," + lines[3].partition(",")[2]
            rows.write_text("".join(lines))
        case "an empty folder":
            rows.unlink()
        case "one sample and BatchNorm":
            rows.write_text("".join(lines[:2]))
            chosen.append("model=tests.unit.learning.nets:rows")
        case _:
            chosen += ["data.validation=0.2", "evaluate.metric=r2"]
    words, code = BAD[what]
    done = hierfl("run", *arguments(chosen), "--out", str(tmp_path / "run"))
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) < 40
    assert not nodes(tmp_path / "run")
