"""What `hierfl init` writes runs at once, as its README says, with a process for each node."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.system.harness import hierfl, metrics, summary

pytestmark = pytest.mark.system


@pytest.mark.parametrize(
    "options",
    [
        ["--task", "reconstruction", "--edges", "1", "--devices", "2"],
        ["--dataset", "digits", "--task", "classification", "--edges", "2", "--devices", "1"],
    ],
)
def test_a_new_federation_runs(options: list[str], tmp_path: Path) -> None:
    done = hierfl("init", "garden", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    here = tmp_path / "garden"
    commands = re.findall(r"^hierfl (.+)$", (here / "README.md").read_text(), re.MULTILINE)
    assert commands[-2] == "run topology.yaml --out runs/garden"
    for line in commands:
        ran = hierfl(*shlex.split(line), cwd=here)
        assert ran.returncode == 0, ran.stderr
    assert summary(here / "runs/garden")["rounds"] == len(metrics(here / "runs/garden")) == 20
    assert len((here / "scores.csv").read_text().splitlines()) > 200
