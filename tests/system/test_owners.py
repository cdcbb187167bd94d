"""A run's folder and a node's state have one owner, and a run's state is its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from deploy.launcher.ports import Ports
from hierfl.config import Config, load_config
from hierfl.planning.plan import resolve
from tests.system.harness import (
    LIMIT_S,
    TINY,
    hierfl,
    kill_all,
    line_with,
    metrics,
    nodes,
    started,
    summary,
    wait_until,
)

pytestmark = pytest.mark.system

ARGUMENTS = [*TINY, "--set", "algorithm.rounds=12", "--set", "algorithm.edge_steps=20",
             "--set", "edges.0.devices=2", "--set", "edges.1.devices=1"]  # fmt: skip


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """It ended at once, with one error that is worth another try later."""
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def test_a_run_folder_has_one_owner_and_a_killed_one_is_none(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with started("run", *ARGUMENTS, "--out", str(out)) as run:
        line_with(run, "round  2/")
        (cloud,) = (pid for pid, text in nodes(out).items() if " cloud " in text)
        os.kill(cloud, signal.SIGSTOP)  # the run takes its time
        said = f"{out} is in use by process {run.pid}"
        refused(hierfl("run", *ARGUMENTS, "--out", str(out)), said)
        refused(hierfl("run", "--resume", "--out", str(out)), said)
        refused(hierfl("cloud", str(out / "config.yaml"), "--out", str(out)), said)
        os.kill(cloud, signal.SIGCONT)
        run.send_signal(signal.SIGKILL)
        run.wait(LIMIT_S)
        done = hierfl("run", "--resume", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert [line["round"] for line in metrics(out)] == list(range(1, 13))
    done = hierfl("run", "--resume", "--out", str(out))
    assert done.returncode == 2 and f"the run in {out} is finished" in done.stderr


@pytest.mark.slow
def test_an_edited_configuration_is_refused_by_its_keys(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with started("run", *ARGUMENTS, "--out", str(out)) as run:
        line_with(run, "round  2/")
        kill_all(run, out)
    file = out / "config.yaml"
    text = file.read_text()
    file.write_text(text.replace("seed: 1", "seed: 2").replace("momentum: 0.9", "momentum: 0.8"))
    for arguments in (["run", "--resume"], ["cloud", str(file)]):
        done = hierfl(*arguments, "--out", str(out))
        assert done.returncode == 2, done.stderr
        assert "algorithm.momentum is 0.8, was 0.9\n  seed is 2, was 1\n" in done.stderr
    assert not nodes(out)
    file.write_text(text)
    assert hierfl("run", "--resume", "--out", str(out)).returncode == 0


@pytest.mark.slow
def test_what_is_lost_is_gone_on_without_only_when_told(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with started("run", *ARGUMENTS, "--out", str(out)) as run:
        line_with(run, "round  3/")
        kill_all(run, out)
    for file in out.glob("checkpoints/*/east-0.*.state"):
        file.write_bytes(b"damaged")
    done = hierfl("run", "--resume", "--out", str(out))
    assert done.returncode == 2
    assert re.search(r"the state of east-0\b.* is lost or damaged", done.stderr)
    assert "--accept-loss" in done.stderr
    done = hierfl("run", "--resume", "--accept-loss", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("warning: the state of east-0")
    assert summary(out)["faults"]["lost"] >= 1


@pytest.mark.slow
def test_damaged_metrics_are_said_and_counted(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with started("run", *ARGUMENTS, "--out", str(out)) as run:
        line_with(run, "round  4/")
        kill_all(run, out)
    (out / "metrics.jsonl").write_bytes(os.urandom(500))
    done = hierfl("run", "--resume", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "metrics.jsonl is damaged: the lines of " in done.stderr
    kept = [line["round"] for line in metrics(out)]
    assert summary(out)["metrics_missing"] == 12 - len(kept) >= 1


# -- nodes of their own ---------------------------------------------------------------------------


@contextmanager
def machines(file: Path, config: Config, state: Path) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """All edges and devices, each started by itself; they are killed with the block."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                started(role, str(file), "--name", name, "--state", str(state))
            )
            for name, role in config.roles().items()
            if role != "cloud"
        }


def topology(folder: Path, ports: Ports, sets: Sequence[str]) -> tuple[Path, Config]:
    """Write a topology whose addresses are known to all."""
    config = load_config(None, [text for text in sets if text != "--set"])
    for key, address in config.addresses().items():
        sets = [*sets, f"{key}={ports.fix(key, address)}"]
    config = resolve(load_config(None, [text for text in sets if text != "--set"]))
    file = folder / "topology.yaml"
    file.write_text(config.to_yaml())
    return file, config


def reached(out: Path, rounds: int) -> bool:
    try:
        return len((out / "metrics.jsonl").read_bytes().splitlines()) >= rounds
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_a_cloud_that_is_started_with_another_folder_costs_the_first_run_nothing(
    tmp_path: Path,
) -> None:
    with Ports() as ports:
        file, config = topology(tmp_path, ports, [*ARGUMENTS, "algorithm.name=ef-lion"])
        undisturbed = hierfl(
            "run", str(file), "--set", "runtime=memory", "--out", str(tmp_path / "undisturbed")
        )
        assert undisturbed.returncode == 0, undisturbed.stderr
        state, first, slip = (tmp_path / name for name in ("state", "first", "slip"))
        for out, rounds in ((first, 4), (slip, 1)):
            with (
                started("cloud", str(file), "--out", str(out)),
                machines(file, config, state),
            ):
                wait_until(partial(reached, out, rounds))
        with (
            started("cloud", str(file), "--out", str(first)) as cloud,
            machines(file, config, state),
        ):
            _, stderr = cloud.communicate(timeout=LIMIT_S)
            assert cloud.returncode == 0, stderr
    assert summary(first)["model_sha256"] == summary(tmp_path / "undisturbed")["model_sha256"]
    assert summary(first)["faults"]["lost"] == 0
    assert len([entry for entry in state.iterdir() if entry.is_dir()]) == 2


@pytest.mark.slow
def test_two_nodes_of_one_name_cannot_share_their_state(tmp_path: Path) -> None:
    with Ports() as ports:
        file, _ = topology(tmp_path, ports, ARGUMENTS)
        arguments = [str(file), "--name", "east-0", "--state", str(tmp_path / "state")]
        with started("device", *arguments) as first:
            wait_until((tmp_path / "state" / "east-0.lock").exists)
            wait_until((tmp_path / "state" / "east-0.lock").read_text)
            refused(
                hierfl("device", *arguments),
                f"the state of east-0 in {tmp_path / 'state'} is in use by process {first.pid}",
            )
