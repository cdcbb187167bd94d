"""`hierfl run`: real processes on real data, and nothing left behind."""

from __future__ import annotations

import hashlib
import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from deploy.launcher.ports import Ports
from tests.system.harness import (
    DIGITS,
    LIMIT_S,
    TINY,
    hierfl,
    line_with,
    metrics,
    nodes,
    started,
    summary,
    wait_gone,
)

pytestmark = pytest.mark.system
LONG = ["--set", "algorithm.rounds=100000", "--set", "edges.0.devices=1",
        "--set", "edges.1.devices=2"]  # fmt: skip


def test_processes_and_memory_give_the_same_bits_run_after_run(tmp_path: Path) -> None:
    rounds = [*DIGITS, "--set", "algorithm.rounds=3"]
    runs = {"process": [], "memory": ["--set", "runtime=memory"]}
    for name, sets in runs.items():
        done = hierfl("run", *rounds, *sets, "--out", str(tmp_path / name))
        assert done.returncode == 0, done.stderr
        assert not nodes(tmp_path / name)
    again = hierfl("run", str(tmp_path / "process" / "config.yaml"), "--set", "runtime=memory",
                   "--out", str(tmp_path / "again"))  # fmt: skip
    assert again.returncode == 0, again.stderr
    one, two, three = (summary(tmp_path / name) for name in (*runs, "again"))
    assert one["model_sha256"] == two["model_sha256"] == three["model_sha256"]
    assert one["bytes"] == two["bytes"] == three["bytes"]
    _check_folder(tmp_path / "process")


@pytest.mark.slow
def test_a_warm_start_with_a_few_devices_at_a_time_gives_the_same_bits_too(tmp_path: Path) -> None:
    memory = ["--set", "runtime=memory", "--set", "algorithm.rounds=2"]
    first = hierfl("run", *DIGITS, *memory, "--out", str(tmp_path / "first"))
    assert first.returncode == 0, first.stderr
    sets = [*DIGITS, "--set", f"start_from={tmp_path / 'first' / 'model.safetensors'}",
            "--set", "algorithm.participation=0.5", "--set", "algorithm.rounds=3"]  # fmt: skip
    for name, more in {"process": [], "memory": ["--set", "runtime=memory"]}.items():
        done = hierfl("run", *sets, *more, "--out", str(tmp_path / name))
        assert done.returncode == 0, done.stderr
    one, two = (summary(tmp_path / name) for name in ("process", "memory"))
    assert one["model_sha256"] == two["model_sha256"] != summary(tmp_path / "first")["model_sha256"]
    assert one["bytes"] == two["bytes"]
    # Four of six devices voted in each round; all six were brought to each of the four bases.
    whole = [4 * one["parameters"] * 6, summary(tmp_path / "first")["bytes"]["device_up"]]
    assert one["bytes"]["device_up"] == whole[1] / 2 * 3 * 4 / 6
    assert one["bytes"]["device_down"] > whole[0]


def _check_folder(out: Path) -> None:
    """Check every figure in the run folder against an independent computation."""
    done, lines = summary(out), metrics(out)
    config = yaml.safe_load((out / "config.yaml").read_text())
    tensors = load_file(out / "model.safetensors")
    d, steps, rounds = done["parameters"], config["algorithm"]["edge_steps"], 3
    assert d == sum(tensor.size for tensor in tensors.values())
    flat = np.concatenate([tensors[name].ravel() for name in _order(config)])
    assert done["model_sha256"] == hashlib.sha256(flat.astype("<f4").tobytes()).hexdigest()
    assert (done["devices"], done["edges"], done["rounds"]) == (6, 2, rounds)
    assert done["steps"] == rounds * steps
    sign, down = math.ceil(d / 8), math.ceil(d / 8) + 4 * len(tensors)
    assert done["bytes"] == {
        "device_up": 6 * rounds * steps * sign,
        "device_down": 6 * (4 * d + rounds * ((steps - 1) * sign + down)),
        "edge_up": 2 * rounds * math.ceil(math.log2(steps + 1)) * sign,
        "edge_down": 2 * (4 * d + rounds * down),
    }
    frames = {"device_up": 6 * (rounds * (steps + 1) + 1), "edge_up": 2 * (2 * rounds + 1)}
    for link, count in frames.items():
        framing = done["messages"][link] - done["bytes"][link]
        assert 0 < framing <= 300 * count
    assert done["faults"] == dict.fromkeys(done["faults"], 0)
    assert [line["round"] for line in lines] == [1, 2, 3]
    assert [line["steps"] for line in lines] == [steps, 2 * steps, 3 * steps]
    assert lines[-1]["accuracy"] == done["accuracy"] == pytest.approx(_accuracy(config, tensors))
    assert all(line["quorum"] == {"east": 3, "west": 3} for line in lines)
    assert {path.stem for path in (out / "logs").iterdir()} == {
        "cloud", "east", "west", *(f"{e}-{i}" for e in ("east", "west") for i in range(3)),
    }  # fmt: skip


def _order(config: dict[str, str]) -> list[str]:
    return [name for name, _ in _module(config).named_parameters()]


def _module(config: dict[str, str]) -> Any:
    from hierfl.config import load_config
    from hierfl.learning.loaded import load_data
    from hierfl.learning.setup import make_model

    digits = load_config(None, ["data.dataset=digits", f"model={config['model']}"])
    return make_model(digits, load_data(digits)).module


def _accuracy(config: dict[str, str], tensors: dict[str, np.ndarray]) -> float:
    import torch

    from hierfl.config import load_config
    from hierfl.learning.loaded import load_data
    from hierfl.learning.setup import judging

    module = _module(config)
    module.load_state_dict({name: torch.from_numpy(x) for name, x in tensors.items()})
    digits = load_config(None, ["data.dataset=digits"])
    judge = judging(digits, load_data(digits))
    assert judge is not None
    inputs, labels = judge.batch(slice(None))
    with torch.no_grad():
        return float((module(inputs).argmax(1) == labels).float().mean())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_the_launcher_ends_no_process_is_left(how: signal.Signals, tmp_path: Path) -> None:
    with started("run", *TINY, *LONG, "--out", str(tmp_path)) as run:
        line_with(run, "accuracy")
        left = nodes(tmp_path)
        assert len(left) == 6
        run.send_signal(how)
        run.wait(LIMIT_S)
        wait_gone(list(left))
        assert run.returncode == (-how if how == signal.SIGKILL else 130)
    assert not nodes(tmp_path)
    assert metrics(tmp_path)[0]["round"] == 1


@pytest.mark.parametrize("name", ["west-1", "east", "cloud"])
def test_a_node_that_dies_ends_the_run_and_is_named(name: str, tmp_path: Path) -> None:
    with started("run", *TINY, *LONG, "--out", str(tmp_path)) as run:
        line_with(run, "accuracy")
        left = nodes(tmp_path)
        victim = next(pid for pid, text in left.items() if f"--name {name} " in f"{text} ")
        os.kill(victim, signal.SIGKILL)
        _, errors = run.communicate(timeout=LIMIT_S)
        wait_gone(list(left))
    assert run.returncode == 1
    assert f"{name} ended with signal SIGKILL" in errors
    assert "Traceback" not in errors and len(errors.splitlines()) < 40


@pytest.mark.slow
def test_roles_started_by_hand_on_fixed_ports_do_the_same(tmp_path: Path) -> None:
    rounds = [*TINY, "--set", "algorithm.rounds=2"]
    with Ports() as ports:
        sets = [*rounds, "--set", f"cloud.address={ports.fix('', '127.0.0.1:0')}",
                "--set", f"edges.0.address={ports.fix('', '127.0.0.1:0')}",
                "--set", f"edges.1.address={ports.fix('', '127.0.0.1:0')}"]  # fmt: skip
        topology = tmp_path / "two.yaml"
        topology.write_text("edges:\n- {name: a, devices: [a0]}\n- {name: b, devices: [b0]}\n")
        state = ["--state", str(tmp_path / "state")]
        # The devices first: whoever comes too early waits for its parent.
        with (
            started("device", str(topology), "--name", "a0", *sets, *state) as a0,
            started("device", str(topology), "--name", "b0", *sets, *state) as b0,
            started("edge", str(topology), "--name", "a", *sets, *state) as a,
            started("edge", str(topology), "--name", "b", *sets, *state) as b,
            started("cloud", str(topology), "--out", str(tmp_path / "by-hand"), *sets) as cloud,
        ):
            for process in (cloud, a, b, a0, b0):
                _, errors = process.communicate(timeout=LIMIT_S)
                assert process.returncode == 0, errors
    done = hierfl("run", str(topology), *rounds, "--set", "runtime=memory",
                  "--out", str(tmp_path / "memory"))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (
        summary(tmp_path / "by-hand")["model_sha256"]
        == (summary(tmp_path / "memory")["model_sha256"])
    )


def test_an_edge_needs_no_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys, edge.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=LIMIT_S).returncode == 0


def test_the_example_of_ones_own_runs_as_processes(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    topology = str(root / "examples" / "own" / "topology.yaml")
    done = hierfl("run", topology, "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert summary(tmp_path / "run")["accuracy"] > 0.9
    assert summary(tmp_path / "run")["algorithm"] == "examples.own.algo:SignLion"
