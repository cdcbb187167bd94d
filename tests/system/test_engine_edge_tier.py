"""`flwr run` of an unchanged app with hierfl's edge tier, added by two lines."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.system.engine import LIMIT_S, engine, seen
from tests.system.harness import wait_until
from tests.system.test_edge_tier import APPS, assert_equal, run_app

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(400)]

NODES = ["--set", "edges.0.devices=2", "--set", "edges.1.devices=3"]


def with_an_edge_tier(app: Path, more: str = "") -> None:
    """Write the two lines into an app's pyproject.toml, and what else belongs to them."""
    file = app / "pyproject.toml"
    lines = file.read_text().splitlines()
    (index,) = [i for i, line in enumerate(lines) if line.startswith("clientapp = ")]
    original = lines[index]
    lines[index] = 'clientapp = "deploy.flower.edge_tier:client"'
    file.write_text("\n".join([*lines, "", "[tool.hierfl]", original, more, ""]))


def test_flwr_run_with_two_lines_is_the_tree_of_accelerate(tmp_path: Path) -> None:
    """5 nodes at two edges; each edge runs 2 rounds per round of the cloud, and then ends."""
    app = shutil.copytree(APPS / "numpy", tmp_path / "app")
    ours = run_app(app, tmp_path, "--edges", "2", "--edge-rounds", "2",
                   config="num-server-rounds=2")  # fmt: skip
    with_an_edge_tier(app, "edge-rounds = 2")
    results = tmp_path / "flwr.json"
    with engine(tmp_path / "home", *NODES) as here:
        here.app = app
        with here.run(**{"num-server-rounds": 2, "results": str(results)}) as run:
            seen(run, "Strategy execution finished")
            run.wait(LIMIT_S)
        wait_until(lambda: "running" not in here.status("east") + here.status("west"))
        assert here.status("east") == here.status("west") == ["finished:completed"]
    assert_equal(json.loads(results.read_text()), ours)
