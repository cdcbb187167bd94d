"""What `hierfl loadtest` writes, and when it writes nothing."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from deploy.loadtest.figures import Figures
from deploy.loadtest.load import Load, asked
from deploy.loadtest.main import loadtest
from deploy.loadtest.shown import show
from hierfl.errors import ConfigError

FIGURES = Figures(
    devices=1000, edges=2, parameters=8000, steps=20, there_s=1.5, first_base_s=0.25, run_s=8.0,
    step_s=0.2, step_p95_s=0.3, edge_cpu_s=2.5e-4, edge_round_cpu_s=3e-4, cloud_cpu_s=0.02,
    child_cpu_s=3e-4, edge_memory=185e3, child_memory=120e3, edge_peak=475e3, child_peak=200e3,
    memory=10**9, votes_per_s=2500.0, lost=0, faults={"restarts": 1, "late": 0}, payload=10**8,
    hash="ab" * 32, shares={"one core, by edge-0": 0.71, "memory of this machine": 0.05},
    killed=True,
)  # fmt: skip


def test_the_table_says_what_saturates_first() -> None:
    file = io.StringIO()
    show(FIGURES, file)
    lines = file.getvalue().splitlines()
    assert lines[0].startswith("1,000 devices on 2 edges, 8,000 parameters: 20 steps in 8.0 s")
    assert any(line.split()[:4] == ["saturates", "first", "71%", "one"] for line in lines)
    assert any("votes lost" in line and "1 restarts" in line for line in lines)
    assert lines[-1].endswith("ab" * 32)
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    "load", [asked(1, 2, 100, 1, None), Load(1_000_000), asked(2, 1, 100, 1, "edge-0@9")]
)
def test_what_is_refused_leaves_nothing_behind(load: Load, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        loadtest(load, tmp_path / "out", as_json=False)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(ConfigError, match="not empty"):
        loadtest(Load(1), tmp_path, as_json=False)
