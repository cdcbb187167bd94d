"""What a person meets on an ordinary day, against the real command line."""

from __future__ import annotations

import signal
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from tests.system.harness import (
    ENVIRONMENT,
    LIMIT_S,
    TINY,
    command,
    hierfl,
    line_with,
    started,
)

pytestmark = pytest.mark.system

TREE = """
name: small
model: mlp
data: {{dataset: "tests.system.tiny:load"}}
algorithm: {{edge_steps: 4, rounds: {rounds}}}
quorum: {{round_timeout: 60}}
cloud: {{address: "127.0.0.1:{cloud}"}}
edges: [{{name: east, address: "127.0.0.1:{edge}", devices: [pi]}}]
"""


def free_ports(number: int) -> list[int]:
    held = [socket.socket() for _ in range(number)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()


def tree(folder: Path, rounds: int) -> Path:
    cloud, edge = free_ports(2)
    file = folder / "small.yaml"
    file.write_text(TREE.format(rounds=rounds, cloud=cloud, edge=edge))
    return file


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "a run"
    with started("run", *TINY, "--set", "algorithm.rounds=100000", "--out", str(out)) as run:
        line_with(run, "round ")
        run.send_signal(signal.SIGINT)
        _, stderr = run.communicate(timeout=LIMIT_S)
    assert run.returncode == 130
    assert f"hierfl run --resume --out '{out}'" in stderr and "Traceback" not in stderr
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    assert stat.S_IMODE((out / "checkpoints").stat().st_mode) == 0o700


@pytest.mark.parametrize("reader", ["head -1", "true"])
@pytest.mark.parametrize("arguments", ["--help", "run --help"])
def test_a_reader_that_has_seen_enough(arguments: str, reader: str) -> None:
    said = subprocess.run(
        ["bash", "-c", f"{' '.join(command())} {arguments} | {reader}"],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=LIMIT_S,
    )
    assert said.stderr == ""


@pytest.mark.parametrize("limit", [10, 16, 24])
def test_too_few_descriptors_are_one_error(limit: int, tmp_path: Path) -> None:
    said = subprocess.run(
        ["prlimit", f"--nofile={limit}:{limit}", *command("run", *TINY, "--out", "run")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=ENVIRONMENT,
        timeout=LIMIT_S,
    )
    assert "Traceback" not in said.stderr and said.returncode == 1, said.stderr
    assert said.stderr.startswith("error: ")


def test_64_descriptors_are_enough_for_one_error_or_none(tmp_path: Path) -> None:
    short = [*TINY, "--set", "algorithm.rounds=1"]
    said = subprocess.run(
        ["prlimit", "--nofile=64:64", *command("run", *short, "--out", str(tmp_path / "run"))],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=LIMIT_S,
    )
    assert "Traceback" not in said.stderr + said.stdout


def test_validate_fits_60_columns(tmp_path: Path) -> None:
    file = tree(tmp_path, 40)
    said = hierfl("validate", str(file), COLUMNS="60")
    assert said.returncode == 0, said.stderr
    assert max(len(line.rstrip()) for line in said.stdout.splitlines()) <= 60
    assert "ballot" in said.stdout and "whole run" in said.stdout


def test_nodes_say_what_they_do_for_whom_they_wait_and_how_it_ended(tmp_path: Path) -> None:
    file = str(tree(tmp_path, 3))
    with (
        started("edge", file, "--name", "east", "--state", str(tmp_path / "s")) as edge,
        started("device", file, "--name", "pi", "--state", str(tmp_path / "s")) as device,
    ):
        cloud = hierfl("cloud", file, "--out", str(tmp_path / "run"))
        assert cloud.returncode == 0, cloud.stderr
        said = [node.communicate(timeout=LIMIT_S)[1] for node in (edge, device)]
    for stderr, words in zip(said, ("edge of small, waiting for cloud at 127.0.0.1:",
                                    "device of small, waiting for east at 127.0.0.1:"),
                             strict=True):  # fmt: skip
        assert words in stderr and "the run is over" in stderr, stderr
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o700


@pytest.mark.slow
def test_a_device_that_is_started_twice_stops_when_the_run_is_over(tmp_path: Path) -> None:
    file = str(tree(tmp_path, 100_000))
    with (
        started("edge", file, "--name", "east", "--state", str(tmp_path / "s")) as edge,
        started("device", file, "--name", "pi", "--state", str(tmp_path / "s")) as first,
        started("cloud", file, "--out", str(tmp_path / "run")) as cloud,
    ):
        line_with(cloud, "round ")
        with started("device", file, "--name", "pi", "--state", str(tmp_path / "other")) as second:
            assert second.stderr is not None
            assert any("pi is attached already" in line for line in second.stderr)
            for node in (cloud, edge, first):
                node.kill()
            _, stderr = second.communicate(timeout=45)  # round_timeout is 60 s
    assert second.returncode == 1 and "Traceback" not in stderr
    assert "pi did not take part: pi is attached already, and the parent is gone" in stderr


def test_a_plain_child_of_a_parent_with_tls_is_told(tmp_path: Path) -> None:
    file = tree(tmp_path, 3)
    made = hierfl("certs", str(file), "--out", str(tmp_path / "certs"))
    assert made.returncode == 0, made.stderr
    secure = ["--set", f"security.certs={tmp_path / 'certs'}"]
    with (
        started("cloud", str(file), *secure, "--out", str(tmp_path / "run")) as cloud,
        started("edge", str(file), "--name", "east", "--state", str(tmp_path / "s")) as edge,
    ):
        line_with(cloud, "listening at")
        assert edge.stderr is not None
        for line in edge.stderr:
            if "uses TLS: set security.certs here too" in line:
                break
        else:
            raise AssertionError("it was not told")


def test_links_do_not_use_the_environment_s_proxies(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    names = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
    proxies = {name: nowhere for each in names for name in (each, each.upper())}
    short = [*TINY, "--set", "algorithm.rounds=2", "--out", str(tmp_path / "run")]
    done = subprocess.run(
        command("run", *short),
        capture_output=True,
        text=True,
        env=ENVIRONMENT | proxies,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
