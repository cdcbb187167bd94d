"""The examples of own data: made, run as their READMEs say, and worth it."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.system.harness import ENVIRONMENT, hierfl, metrics

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.system


def made(name: str, folder: Path) -> Path:
    """Return a copy of an example, with its data."""
    here = folder / name
    shutil.copytree(EXAMPLES / name, here, ignore=shutil.ignore_patterns("data", "runs"))
    python(here, "make_data.py")
    return here


def python(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(folder: Path, out: str, *sets: str) -> str:
    arguments = [part for text in sets for part in ("--set", text)]
    done = hierfl("run", "topology.yaml", "--out", out, *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    return next(line for line in done.stdout.splitlines() if line.startswith("model "))


def evaluate(folder: Path, *arguments: str) -> dict[str, float]:
    done = hierfl("evaluate", *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if not line.startswith("scores")]
    return {name: float(value) for name, value in lines}


def rows(file: Path) -> Sequence[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return [*csv.DictReader(lines)]


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("sensors", "text")]


@pytest.mark.parametrize("name", ["regression", *SLOW])
def test_processes_end_with_the_bits_of_one_process(name: str, tmp_path: Path) -> None:
    here = made(name, tmp_path)
    short = "algorithm.rounds=2", "algorithm.edge_steps=4"
    model = run(here, "runs/processes", *short)
    assert run(here, "runs/memory", *short, "runtime=memory") == model
    judged = [metrics(here / "runs" / out)[-1] for out in ("processes", "memory")]
    assert judged[0]["worst"] == judged[1]["worst"]
    worst = judged[0]["worst"]
    assert worst["value"] > judged[0][worst["metric"]] > 0


@pytest.mark.slow
def test_sensors_find_anomalies(tmp_path: Path) -> None:
    here = made("sensors", tmp_path)
    run(here, "runs/sensors", "runtime=memory", "algorithm.rounds=30")
    figures = evaluate(here, "runs/sensors", "--data", "new.csv", "--out", "scores.csv")
    assert figures["mse"] < 0.3
    assert len(rows(here / "scores.csv")) == 6 * 4 * 144
    said = python(here, "anomalies.py", "scores.csv")
    assert float(said.split()[-1]) > 0.85


@pytest.mark.slow
def test_regression_beats_the_last_hour(tmp_path: Path) -> None:
    here = made("regression", tmp_path)
    run(here, "runs/energy", "runtime=memory", "algorithm.rounds=20")
    figures = evaluate(here, "runs/energy", "--data", "data/house-4", "--out", "scores.csv")
    assert figures["absolute_error"] < 0.9 * figures["persistence"]
    assert len(rows(here / "scores.csv")) > 7000


@pytest.mark.slow
def test_text_learns_python(tmp_path: Path) -> None:
    here = made("text", tmp_path)
    run(here, "runs/text", "runtime=memory", "algorithm.rounds=12")
    assert evaluate(here, "runs/text", "--data", "data/json")["perplexity"] < 25
