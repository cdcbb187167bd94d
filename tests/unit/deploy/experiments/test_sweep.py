"""Sweeps: all combinations, one table, and nothing is run twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.unit.conftest import Run


def test_all_combinations_are_run_once_and_seeds_are_averaged(hierfl: Run, tree: Path) -> None:
    command = (
        "sweep", tree, "--set", "algorithm.name=hier-sgd,hier-signsgd", "--set", "seed=1,2",
        "--set", "algorithm.momentum=0.5", "--out", "out",
    )  # fmt: skip
    code, out, err = hierfl(*command)
    assert (code, err) == (0, "")
    assert "4/4  algorithm.name=hier-signsgd, seed=2: " in out
    rows = json.loads(Path("out/table.json").read_text())
    assert [row["setting"]["algorithm.name"] for row in rows] == ["hier-sgd", "hier-signsgd"]
    for row in rows:
        ends = [json.loads((Path("out") / run / "summary.json").read_text()) for run in row["runs"]]
        accuracy = [end["accuracy"] for end in ends]
        assert row["accuracy"]["of_seeds"] == accuracy and len(set(row["runs"])) == 2
        assert row["accuracy"]["std"] == pytest.approx(np.std(accuracy, ddof=1))
        assert row["loss"] == pytest.approx(np.mean([end["loss"] for end in ends]))
        sent = [end["bytes"]["device_up"] + end["bytes"]["device_down"] for end in ends]
        assert row["bytes"] == pytest.approx(np.mean(sent) / 3)
        config = (Path("out") / row["runs"][0] / "config.yaml").read_text()
        assert "momentum: 0.5" in config
    text = Path("out/table.md").read_text()
    assert text in out and "All with algorithm.momentum=0.5." in text
    assert "over seeds 1, 2" in text and "| algorithm.name | accuracy | loss | MB |" in text

    written = [file.stat().st_mtime_ns for file in sorted(Path("out").glob("*/summary.json"))]
    assert hierfl(*command).code == 0
    assert written == [
        file.stat().st_mtime_ns for file in sorted(Path("out").glob("*/summary.json"))
    ]
    assert json.loads(Path("out/table.json").read_text()) == rows


def test_one_value_of_everything_is_one_run(hierfl: Run, tree: Path) -> None:
    assert hierfl("sweep", tree, "--set", "seed=3").code == 0
    (row,) = json.loads(Path("runs/sweep-tree/table.json").read_text())
    assert row["accuracy"]["std"] is None and row["setting"] == {}


def test_a_task_without_accuracy_is_told_by_its_loss(hierfl: Run, tree: Path) -> None:
    code, out, err = hierfl(
        "sweep", tree, "--set", "task=reconstruction", "--set", "model=autoencoder",
        "--set", "algorithm.lr=0.001,0.002", "--out", "out",
    )  # fmt: skip
    assert (code, err) == (0, "")
    rows = json.loads(Path("out/table.json").read_text())
    assert [row["accuracy"] for row in rows] == [None, None]
    assert f"1/2  algorithm.lr=0.001: loss {rows[0]['loss']:.4g}" in out
    assert "Final loss on the test set" in out and "| algorithm.lr | loss | MB |" in out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("algorithm.lr", "expected key=value,value,..."),
        ("algorithm.lr=0.1,,0.2", "expected key=value,value,..."),
        ("edges=[{name: a, devices: 1}", "']' is missing"),
        ("edges=a}", "'}' closes nothing"),
        ("algorithm.momentum=0.1,2", "algorithm.momentum"),
        ("seed=2", "seed is in the grid already"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(
    hierfl: Run, tree: Path, text: str, says: str
) -> None:
    result = hierfl("sweep", tree, "--set", "seed=1", "--set", text)
    assert result.code == 2
    assert says in result.err
    assert not Path("runs").exists()
