"""The demo in real containers: the bits, who reaches whom, who is killed, what is left.

Run by `make test-containers` alone. It needs root, podman with iptables, and Fashion-MNIST; its
commands are those of docs/containers.md.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.system.containers import (
    IMAGE,
    LIMIT_S,
    PROJECT,
    ROOT,
    blocks,
    documented,
    environment,
    podman,
)
from tests.system.harness import hierfl, summary

pytestmark = [pytest.mark.containers, pytest.mark.timeout(2400)]

WAIT_S = 300
ROUNDS = "algorithm.rounds=15"
NODES = ["cloud", *(f"{e}{i}" for e in ("east", "west") for i in ("", "-0", "-1", "-2"))]


@pytest.fixture(scope="module")
def image() -> None:
    """The image of this tree. It stays: its layers make the next build quick."""
    for program in ("podman", "iptables", "podman-compose"):
        assert shutil.which(program, path=environment()["PATH"]), f"there is no {program} here"
    documented("podman build --format docker -t hierfl -f deploy/Dockerfile .", ROOT)


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of the demo in one process, without containers."""
    out = tmp_path_factory.mktemp("direct") / "run"
    sets = ["--set", ROUNDS, "--set", "runtime=memory"]
    done = hierfl("run", str(ROOT / "examples/demo.yaml"), *sets, "--out", str(out), timeout=600)
    assert done.returncode == 0, done.stderr
    return str(summary(out)["model_sha256"])


def test_the_image_has_no_source_tree_and_no_cuda(image: None) -> None:
    code = "import os, torch; print(*os.listdir('/')); print(torch.version.cuda, os.getuid())"
    said = podman("run", "--rm", "--network", "none", "--entrypoint", "python", IMAGE, "-c", code)
    folders, facts = said.splitlines()
    assert facts == "None 1000"
    assert not {"build", "wheel", "tools"} & set(folders.split())


def test_the_demo_in_containers(image: None, direct: str, tmp_path: Path) -> None:
    with demo(tmp_path):
        podman("stop", name("west-2"))  # without it the run does not go on
        wait_for(lambda: all("attached to cloud" in log(edge) for edge in ("east", "west")))
        each_holds_its_own_key_alone()
        a_device_reaches_its_edge_and_no_further()
        for node in ("cloud", "east", "east-0"):
            wait_for(partial(healthy, node))
        podman("start", name("west-2"))
        documented("podman wait demo_cloud_1", tmp_path)
        assert f"model {direct}" in log("cloud")
        (tmp_path / "runs").mkdir()
        documented("podman cp demo_cloud_1:/state/demo runs/demo", tmp_path)
        assert summary(tmp_path / "runs/demo")["model_sha256"] == direct
        wait_for(lambda: all(state(node) == "exited 0" for node in NODES))


def test_killed_containers_change_no_bit(image: None, direct: str, tmp_path: Path) -> None:
    with demo(tmp_path):
        wait_for(lambda: re.search("round +1/", log("cloud")))
        podman("kill", name("west-2"))  # without it the run does not go on
        os.kill(int(inspect("east-1", ".State.Pid")), signal.SIGKILL)
        documented("podman-compose kill west", tmp_path)
        wait_for(lambda: state("west") == "exited 137")
        wait_for(lambda: inspect("east-1", ".RestartCount") == "1")
        assert "round 15/15" not in log("cloud")
        documented("podman-compose start west", tmp_path)
        podman("start", name("west-2"))
        documented("podman wait demo_cloud_1", tmp_path)
        assert f"model {direct}" in log("cloud")


def test_the_demo_on_flowers_engine(image: None, direct: str, tmp_path: Path) -> None:
    folder = tmp_path / "deploy"
    folder.mkdir()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(ROOT / "deploy/compose-flower.yaml", folder)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    documented("hierfl certs ../examples/demo.yaml --out certs", folder)
    documented("chown -R 1000 certs", folder)
    with up("podman-compose -f compose-flower.yaml", folder):
        wait_for(lambda: "run: " in log("cloud"))
        run = next(part for part in blocks() if " exec " in part and "flwr run" in part)
        more = f"--run-config '{ROUNDS} wait=600.0 "
        assert "--run-config '" in run
        documented(run, folder, lambda text: text.replace("--run-config '", more))
        file = "/state/run/summary.json"
        result = json.loads(podman("exec", name("cloud"), "cat", file))
        assert result["devices"] == 6
        assert result["model_sha256"] == direct


# -- what is promised ------------------------------------------------------------------------------


def each_holds_its_own_key_alone() -> None:
    """And is no superuser."""
    for node in set(NODES) - {"west-2"}:
        assert podman("exec", name(node), "id", "-u").strip() == "1000"
        held = podman("exec", name(node), "ls", "/certs").split()
        assert sorted(held) == sorted(["ca.crt", f"{node}.crt", f"{node}.key"])


def a_device_reaches_its_edge_and_no_further() -> None:
    addresses = {node: networks(node) for node in ("cloud", "east", "west")}
    cloud = addresses["cloud"]["cloud"]
    assert connects("east", cloud) and connects("east", "cloud")
    for device, edge, other in (("east-0", "east", "west"), ("west-0", "west", "east")):
        assert connects(device, edge) and connects(device, addresses[edge][edge])
        beyond = [cloud, *addresses[other].values(), addresses[edge]["cloud"]]
        for place in ("cloud", other, *beyond):
            assert not connects(device, place), f"{device} reaches {place}"


def connects(node: str, host: str) -> bool:
    """Whether a connection from a node's container to the port of the links comes about."""
    code = f"import socket; socket.create_connection(({host!r}, 9400), 10)"
    command = ["podman", "exec", name(node), "python", "-c", code]
    return subprocess.run(command, capture_output=True, timeout=LIMIT_S).returncode == 0


# -- how it is run ---------------------------------------------------------------------------------


@contextmanager
def demo(folder: Path) -> Iterator[None]:
    """The demo, short, from a folder of its own."""
    shutil.copy(ROOT / "examples/demo.yaml", folder)
    documented("hierfl certs demo.yaml --out certs", folder)
    documented("chown -R 1000 certs", folder)
    more = f"demo.yaml --set {ROUNDS} >"
    documented("hierfl compose demo.yaml > compose.yaml", folder,
               lambda text: text.replace("demo.yaml >", more))  # fmt: skip
    with up("podman-compose", folder):
        yield


@contextmanager
def up(compose: str, folder: Path) -> Iterator[None]:
    """Containers that are there within the block; afterwards nothing is left of them."""
    try:
        documented(f"{compose} up -d", folder)
        yield
    except BaseException:
        for node in NODES:
            print(f"--- {node}\n{log(node)[-3000:]}")
        raise
    finally:
        documented(f"{compose} down -v", folder)
    label = f"label=io.podman.compose.project={PROJECT}"
    assert not podman("ps", "-aq", "--filter", label)
    assert not podman("volume", "ls", "-q", "--filter", label)
    assert PROJECT not in podman("network", "ls")


def name(node: str) -> str:
    return f"{PROJECT}_{node}_1"


def log(node: str) -> str:
    return podman("logs", name(node), fails=True)


def inspect(node: str, what: str) -> str:
    return podman("inspect", "-f", f"{{{{{what}}}}}", name(node)).strip()


def state(node: str) -> str:
    return f"{inspect(node, '.State.Status')} {inspect(node, '.State.ExitCode')}"


def networks(node: str) -> dict[str, str]:
    """Return a node's addresses by network."""
    held = json.loads(podman("inspect", name(node)))[0]["NetworkSettings"]["Networks"]
    return {key.removeprefix(f"{PROJECT}_"): value["IPAddress"] for key, value in held.items()}


def healthy(node: str) -> bool:
    return podman("healthcheck", "run", name(node), fails=True) == ""


def wait_for(what: Callable[[], object]) -> None:
    limit = time.monotonic() + WAIT_S
    while not what():
        assert time.monotonic() < limit
        time.sleep(0.5)
