"""A topology in another folder: its paths and modules are those beside it, an option's are here."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from deploy.containers.compose import compose
from deploy.project.own_code import own_code
from deploy.ssh.desired_state import needs
from deploy.ssh.inventory import Host
from hierfl import loader
from hierfl.api.topology import Topology
from hierfl.config import load_config
from hierfl.config.folder import as_written
from hierfl.planning.plan import resolve
from tests.unit.conftest import Result

TEXT = """
name: away
task: task_away:Away
data: {root: "data/{name}", partition: {kind: own}, dataset: {csv: {target: y}}, validation: 0.2}
model: linear
algorithm: {edge_steps: 2, rounds: 2}
security: {certs: certs}
start_from: first.safetensors
edges: [{name: e, devices: [a, b]}]
"""
TASK = """
import hierfl
import beside_away

class Away(hierfl.Regression):
    pass
"""


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A topology with its module and data, in another folder than the current one."""
    folder = tmp_path / "project"
    for device, shift in (("a", 0), ("b", 3)):
        (folder / "data" / device).mkdir(parents=True)
        rows = "".join(f"{i},{2 * i + shift}\n" for i in range(20))
        (folder / "data" / device / "rows.csv").write_text("x,y\n" + rows)
    (folder / "task_away.py").write_text(TASK)
    (folder / "beside_away.py").write_text("")
    (folder / "topology.yaml").write_text(TEXT)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(loader, "_FOLDERS", [])
    for module in ("task_away", "beside_away"):
        sys.modules.pop(module, None)
    return folder / "topology.yaml"


def test_paths_of_a_file_begin_at_its_folder_and_those_of_options_here(away: Path) -> None:
    folder, here = away.parent, Path.cwd()
    config = load_config(away)
    assert config.data_root("a") == folder / "data" / "a"
    assert config.security.certs == folder / "certs"
    assert config.start_from == folder / "first.safetensors"
    assert config.folder == folder
    assert load_config(away, ["data.root=mine"]).data.root == here / "mine"
    assert load_config(away, ["security={certs: c}"]).security.certs == here / "c"
    assert load_config(away, ["data.root=/else/where"]).data.root == Path("/else/where")
    assert load_config(away, ["folder=sub"]).data.root == here / "sub" / "data" / "{name}"
    assert Topology(away).replace("seed=2").config == load_config(away, ["seed=2"])
    assert as_written(config, config.data.root) == Path("data/{name}")


def test_beside_the_current_folder_nothing_changes(
    away: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(away.parent)
    config = load_config(Path("topology.yaml"))
    assert (config.folder, config.data.root) == (None, Path("data/{name}"))


def test_it_runs_and_its_run_is_found_again_from_anywhere(
    hierfl: Callable[..., Result], away: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def done(*arguments: object) -> None:
        result = hierfl(*arguments)
        assert result.code == 0, result.err

    plain = ("--set", "start_from=null", "--set", "runtime=memory")
    done("validate", away, *plain)
    done("run", away, *plain, "--out", "away")
    done("evaluate", "away", "--data", away.parent / "data" / "a")
    monkeypatch.chdir(away.parent)
    done("run", "topology.yaml", *plain, "--out", "beside")
    out = away.parents[1] / "here" / "away"
    monkeypatch.chdir("/")
    done("evaluate", out, "--data", away.parent / "data" / "b")
    done("run", out / "config.yaml", "--out", out.with_name("again"))
    places = (out, away.parent / "beside", out.with_name("again"))
    assert len({json.loads((p / "summary.json").read_text())["model_sha256"] for p in places}) == 1


def test_what_is_brought_to_machines_and_containers_is_the_same(
    away: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(name="hub", nodes=("a",), python="/usr/bin/python3")
    plain = ["security={insecure: true}"]
    found = []
    for folder, file in ((Path.cwd(), away), (away.parent, Path("topology.yaml"))):
        monkeypatch.chdir(folder)
        config = resolve(load_config(file, plain))
        code = own_code(config)
        assert {*code.files()} == {"task_away.py", "beside_away.py"}
        found.append([(entry.path, entry.state()) for entry in needs(config, host).entries])
    assert found[0] == found[1]


def test_a_compose_file_mounts_what_is_beside_the_topology(away: Path) -> None:
    tree = yaml.safe_load(compose(Path("../project/topology.yaml"), ["security={insecure: true}"]))
    device = tree["services"]["a"]
    assert device["volumes"][:4] == [
        "../project/topology.yaml:/topology.yaml:ro",
        "../project/data/a:/data:ro",
        "../project/beside_away.py:/code/beside_away.py:ro",
        "../project/task_away.py:/code/task_away.py:ro",
    ]
    assert "folder=/code" in device["command"]


def test_the_forecast_knows_what_devices_say_of_models(
    hierfl: Callable[..., Result], away: Path
) -> None:
    plain = ("--set", "start_from=null", "--set", "runtime=memory")
    shown = hierfl("validate", away, *plain).out
    planned = sum(
        int(words[4].replace(",", "")) * int(words[5])
        for words in map(str.split, shown.splitlines())
        if words[:2] == ["device", "up"] and words[2] != "in"
    )
    assert hierfl("run", away, *plain, "--out", "run").code == 0
    sent = json.loads(Path("run/summary.json").read_text())["bytes"]
    assert planned == sent["device_up"]
    assert "metrics" in shown
