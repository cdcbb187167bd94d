"""Halving a grid: who runs how long, who is left, and by what they are judged."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deploy.experiments.tune import ladder, points
from tests.unit.conftest import Run


@given(st.integers(1, 200), st.integers(1, 500))
def test_halving_ends_with_one_setting_after_all_rounds(settings: int, rounds: int) -> None:
    steps = ladder(settings, rounds)
    left = settings
    for _ in steps:
        left = -(-left // 2)
    assert left == 1
    assert steps[-1] == rounds
    assert all(short <= long <= 2 * short for short, long in pairwise(steps))


SPOILT = """
from tests.system import tiny

def load():
    train, (inputs, labels) = tiny.load()
    return train, (inputs, 1 - labels)
"""
"""A data set whose test set says the opposite."""


def test_the_best_of_a_grid_is_found_without_the_test_set(hierfl: Run, tree: Path) -> None:
    Path("spoilt.py").write_text(SPOILT)
    command = (
        "tune", tree, "--algorithm", "hier-sgd", "--out", "out",
        "--set", "data.dataset=spoilt:load",
        "--grid", "algorithm.lr=1e-7,0.05,1e-6", "--grid", "algorithm.momentum=0.5,0.6",
    )  # fmt: skip
    code, out, err = hierfl(*command)
    assert (code, err) == (0, "")
    assert "compared on 10% of the training set" in out
    result = json.loads(Path("out/tune.json").read_text())
    assert [(rung["rounds"], len(rung["ranking"])) for rung in result["rungs"]] == [
        (1, 6), (1, 3), (2, 2)
    ]  # fmt: skip
    for rung in result["rungs"]:
        scores = [(-line["accuracy"], line["loss"]) for line in rung["ranking"]]
        assert scores == sorted(scores)
    best = result["best"]
    assert best == result["rungs"][-1]["ranking"][0]["setting"]
    assert best[0] == "algorithm.lr=0.05"
    assert result["rungs"][-1]["ranking"][0]["accuracy"] > 0.9
    assert f"best: --set algorithm.lr=0.05 --set {best[1]}" in out
    run = Path("out/rounds-2") / "-".join(best)
    assert json.loads((run / "summary.json").read_text())["rounds"] == 2
    data = yaml.safe_load((run / "config.yaml").read_text())["data"]
    assert data["validation"] == 0.1

    written = [run.stat().st_mtime_ns for run in Path("out").glob("*/*/summary.json")]
    ranked = [line for line in out.splitlines() if not re.match(r"  \d+/\d+  ", line)]
    again = hierfl(*command).out.splitlines()
    assert [line for line in again if not re.match(r"  \d+/\d+  ", line)] == ranked
    assert written == [run.stat().st_mtime_ns for run in Path("out").glob("*/*/summary.json")]


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        ("algorithm.lr", "expected key=value"),
        ("algorithm.lr=1,,2", "expected key=value"),
        ("algorithm.momentum=0.5", "algorithm.momentum is in the grid already"),
        ("algorithm.rate=1", "algorithm.rate: there is no such key"),
        ("algorithm.lr=0.1,-1", "algorithm.lr: "),
    ],
)
def test_a_wrong_grid_is_refused(hierfl: Run, tree: Path, grid: str, says: str) -> None:
    command = ("tune", tree, "--algorithm", "hier-sgd", "--grid", "algorithm.momentum=0.1,0.2")
    result = hierfl(*command, "--grid", grid)
    assert result.code == 2
    assert says in result.err
    assert not Path("runs").exists()


def test_there_must_be_something_to_choose_by(hierfl: Run, tree: Path) -> None:
    command = ("tune", tree, "--algorithm", "hier-sgd", "--grid", "algorithm.lr=1,2")
    result = hierfl(*command, "--set", "data.validation=0")
    assert result.code == 2
    assert "data.validation: is 0" in result.err


def test_a_grid_is_the_product_of_its_lines() -> None:
    grid = ["algorithm.lr=0.1, 0.2,0.1", "algorithm.tie=zero,keep"]
    assert points(grid) == [
        ("algorithm.lr=0.1", "algorithm.tie=zero"), ("algorithm.lr=0.1", "algorithm.tie=keep"),
        ("algorithm.lr=0.2", "algorithm.tie=zero"), ("algorithm.lr=0.2", "algorithm.tie=keep"),
    ]  # fmt: skip
