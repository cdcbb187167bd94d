"""Devices that vote for the opposite of what they found: three of ten do little, six ruin it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.harness import hierfl, summary

DIGITS = ["model=mlp", "data.dataset=digits", "algorithm.batch_size=32", "algorithm.rounds=10",
          "edges=[{name: east, devices: 10}]", "runtime=memory"]  # fmt: skip


def accuracy(out: Path, *faults: str) -> float:
    """Train with these liars; return the final accuracy."""
    sets = [part for text in (*DIGITS, *faults) for part in ("--set", text)]
    done = hierfl("run", *sets, "--out", str(out))
    assert done.returncode == 0, done.stderr
    return float(summary(out)["accuracy"])


def devices(count: int) -> str:
    return "[" + ", ".join(f"east-{i}" for i in range(count)) + "]"


@pytest.mark.parametrize("kind", ["sign_flip", "random_vote"])
def test_three_of_ten_cost_little(kind: str, tmp_path: Path) -> None:
    assert accuracy(tmp_path, f"faults.{kind}={devices(3)}") > 0.86


def test_six_of_ten_ruin_it(tmp_path: Path) -> None:
    assert accuracy(tmp_path, f"faults.sign_flip={devices(6)}") < 0.3


def test_all_honest(tmp_path: Path) -> None:
    assert accuracy(tmp_path) > 0.9
