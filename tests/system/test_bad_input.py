"""What goes wrong is said on one screen, with the right exit code, and harms nobody else."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from deploy.launcher.ports import Ports
from tests.system.harness import DIGITS, LIMIT_S, TINY, hierfl, metrics, nodes, started, summary

pytestmark = pytest.mark.system


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--set", "algorithm.roundz=3"], 2, ["algorithm.roundz", "rounds"]),
        (["--set", "algorithm.rounds=many"], 2, ["algorithm.rounds", "integer", "many"]),
        (["--set", "algorithm.name=hier-singsgd"], 2, ["algorithm.name", "hier-signsgd"]),
        (["--set", "model=cmn"], 2, ["model", "cnn"]),
        (["--set", "downlink.codec=sing"], 2, ["downlink.codec", "sign"]),
        (["--set", "uplink.codec=float32"], 2, ["uplink.codec", "tally"]),
        (["--set", "edges.1.name=east"], 2, ["edges.1", "east"]),
        (["--set", "model=examples.own.nets:bild"], 2, ["model", "build"]),
        (["--set", "data.dataset=fashion-minst"], 2, ["data.dataset", "fashion-mnist"]),
        (["--set", "data.partition={kind: shards, classes: 2}"], 2, ["data.partition"]),
        (["--set", "edges.0.devices=2000"], 2, ["data.partition", "without samples"]),
        (["nowhere.yaml"], 2, ["nowhere.yaml"]),
        (["--resume"], 2, ["--resume"]),
    ],
)
def test_a_wrong_configuration_is_one_screen_and_starts_nothing(
    arguments: list[str], code: int, words: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    sets = ["--set", "data.dataset=digits", "--set", "runtime=memory"]
    done = hierfl("run", *sets, *arguments, "--out", str(out))
    assert done.returncode == code, done.stderr
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) < 40


def test_data_that_is_absent_names_the_ways_to_get_it(tmp_path: Path) -> None:
    done = hierfl("run", "--set", "data.dataset=mnist", "--set", "runtime=memory",
                  "--out", str(tmp_path / "run"), HOME=str(tmp_path), HIERFL_DATA=str(tmp_path),
                  XDG_CACHE_HOME=str(tmp_path))  # fmt: skip
    assert done.returncode == 1
    assert "hierfl data get mnist" in done.stderr and "data.dataset=digits" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_in_a_node_is_the_launchers_error_with_its_exit_code(tmp_path: Path) -> None:
    done = hierfl("run", "--set", "data.dataset=digits", "--set", "edges.0.devices=2000",
                  "--set", "edges.1.devices=1", "--set", "edges.0.devices=[a]",
                  "--set", "data.partition={kind: shards, classes: 1}",
                  "--out", str(tmp_path / "run"))  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "data.partition" in done.stderr and "Traceback" not in done.stderr
    assert not nodes(tmp_path / "run")


@pytest.mark.slow  # it is waited for, for a minute
def test_an_address_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = hierfl("run", *TINY, "--set", f"cloud.address={address}",
                      "--out", str(tmp_path / "run"))  # fmt: skip
    assert done.returncode == 1, done.stderr  # it may be free in a moment
    assert address in done.stderr and "Traceback" not in done.stderr
    assert not nodes(tmp_path / "run")


@pytest.mark.parametrize("role", ["edge", "device"])
def test_a_parent_that_cannot_be_reached_is_named(role: str, tmp_path: Path) -> None:
    topology = tmp_path / "one.yaml"
    topology.write_text("edges: [{name: a, devices: [a0]}]")
    with Ports() as ports:
        address = ports.fix("", "127.0.0.1:0")
        key, name = ("cloud", "a") if role == "edge" else ("edges.0", "a0")
        done = hierfl(role, str(topology), "--name", name, *DIGITS,
                      "--state", str(tmp_path / "state"),
                      "--set", f"{key}.address={address}",
                      "--set", "quorum.round_timeout=0.5")  # fmt: skip
    assert done.returncode == 1
    assert f"{name} has no parent at {address}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_device_with_another_model_is_refused_and_the_others_go_on(tmp_path: Path) -> None:
    topology = tmp_path / "one.yaml"
    topology.write_text("edges: [{name: a, devices: [a0, a1]}]")
    with Ports() as ports:
        sets = [*DIGITS, "--set", "algorithm.rounds=2",
                "--set", f"cloud.address={ports.fix('', '127.0.0.1:0')}",
                "--set", f"edges.0.address={ports.fix('', '127.0.0.1:0')}"]  # fmt: skip
        state = ["--state", str(tmp_path / "state")]
        with (
            started("cloud", str(topology), "--out", str(tmp_path / "run"), *sets) as cloud,
            started("edge", str(topology), "--name", "a", *sets, *state) as edge,
            started("device", str(topology), "--name", "a0", *sets, *state) as good,
        ):
            device = ["device", str(topology), "--name", "a1", *sets, *state]
            stranger = hierfl(*device, "--set", "model=mlp")
            assert stranger.returncode == 1
            assert "a1 has another configuration" in stranger.stderr
            assert "(it differs in algorithm.lr, model)" in stranger.stderr
            assert "Traceback" not in stranger.stderr
            late = hierfl(*device)
            assert late.returncode == 0, late.stderr
            for process in (cloud, edge, good):
                _, errors = process.communicate(timeout=LIMIT_S)
                assert process.returncode == 0, errors


def test_a_device_whose_gradients_are_not_finite_abstains_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    (tmp_path / "broken.py").write_text(
        "import torch\n"
        "def load():\n"
        "    generator = torch.Generator().manual_seed(0)\n"
        "    x = torch.randn(90, 1, 4, 4, generator=generator)\n"
        "    y = (x.mean((1, 2, 3)) > 0).long()\n"
        "    x[0] = 3e38  # finite, but no gradient at it is\n"
        "    return (x, y), (x[1:], y[1:])\n"
    )
    done = hierfl("run", "--set", "data.dataset=broken:load", "--set", "model=mlp",
                  "--set", "algorithm.rounds=3", "--set", "algorithm.edge_steps=4",
                  "--out", str(tmp_path / "run"),
                  PYTHONPATH=f"{tmp_path}:{Path.cwd()}")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert summary(tmp_path / "run")["faults"]["abstained"] == 3 * 4
    quorums = [line["quorum"] for line in metrics(tmp_path / "run")]
    assert all(sorted(quorum.values()) == [2, 3] for quorum in quorums)
