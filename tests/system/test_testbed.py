"""A testbed: shaped links, partitions, and nothing left behind. Needs Linux, root and iproute2."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.launcher.namespace import NAMESPACES
from deploy.testbed.build import testbed as build
from deploy.testbed.link_control import turn
from deploy.testbed.registry import FOLDER
from deploy.testbed.topology import Wiring
from hierfl.config import load_config
from hierfl.errors import ConfigError
from tests.system.harness import (
    DIGITS,
    ENVIRONMENT,
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

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(sys.platform != "linux", reason="network namespaces need Linux"),
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may make networks"
    ),
    pytest.mark.skipif(
        not (shutil.which("ip") and shutil.which("tc")), reason="needs ip and tc, of iproute2"
    ),
]

ROUNDS = 5
TRIES = 5
NETNS = ["--testbed", "netns"]
TREE = ["--set", "edges=[{name: east, devices: 2}, {name: west, devices: 1}]"]
FEDERATION = [*DIGITS, *TREE, "--set", f"algorithm.rounds={ROUNDS}"]


def namespaces(pid: int) -> list[str]:
    """Return the namespaces that a launcher has made and that are still there."""
    return [path.name for path in NAMESPACES.glob(f"hierfl-{pid}[-.]*")]


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of the same federation in one process, without any network."""
    out = tmp_path_factory.mktemp("memory") / "run"
    done = hierfl("run", *FEDERATION, "--set", "runtime=memory", "--out", str(out))
    assert done.returncode == 0, done.stderr
    return str(summary(out)["model_sha256"])


# -- links ---------------------------------------------------------------------------------------

RECEIVE = """
import socket, sys
with socket.create_server((sys.argv[1], 9)) as server:
    print("listening", flush=True)
    connection, _ = server.accept()
    with connection:
        while connection.recv(1 << 16):
            pass
        connection.sendall(b"all of it")
"""
SEND = """
import socket, sys, time
begin = time.monotonic()
with socket.create_connection((sys.argv[1], 9), 3) as connection:
    connection.settimeout(None)
    connection.sendall(bytes(int(sys.argv[2])))
    connection.shutdown(socket.SHUT_WR)
    assert connection.recv(1)
    print(time.monotonic() - begin)
"""


def inside(wiring: Wiring, node: str, code: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a Python program at a node."""
    command = ["ip", "netns", "exec", wiring.namespaces[node], sys.executable, "-c", code]
    return subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def address(wiring: Wiring, node: str, bridge: str) -> str:
    """Return a node's address on a network."""
    return next(w.address for w in wiring.wires if (w.node, w.bridge) == (node, bridge))


def bits_per_second(wiring: Wiring, sender: str, to: str, bridge: str, size: int) -> float:
    """Return the rate of one transfer, in bits of payload."""
    receiver = inside(wiring, to, RECEIVE, address(wiring, to, bridge))
    assert receiver.stdout is not None
    assert receiver.stdout.readline() == "listening\n"
    transfer = inside(wiring, sender, SEND, address(wiring, to, bridge), str(size))
    seconds, errors = transfer.communicate(timeout=60)
    receiver.communicate(timeout=60)
    assert seconds, errors
    return 8 * size / float(seconds)


def test_a_transfer_takes_as_long_as_the_rate_says(tmp_path: Path) -> None:
    config = load_config(None, [
        *TREE[1:], "links={device: {up: 1mbit, down: 4mbit}, edge: {up: 3mbit, down: 6mbit},"
        " nodes: {east-1: {up: 2mbit}}}",
    ])  # fmt: skip
    expected = {
        ("east-0", "east", "cluster1"): 1e6,
        ("east", "east-0", "cluster1"): 4e6,
        ("east-1", "east", "cluster1"): 2e6,
        ("east", "east-1", "cluster1"): 4e6,
        ("west", "cloud", "core"): 3e6,
        ("cloud", "west", "core"): 6e6,
    }
    with build(config, tmp_path) as wiring:
        for (sender, to, bridge), rate in expected.items():
            best = 0.0
            for _ in range(TRIES):  # a machine with much else to do may be slower, never faster
                seen = bits_per_second(wiring, sender, to, bridge, round(0.08 * rate))
                assert seen < rate, (sender, to, seen)
                best = max(best, seen)
                if best > 0.8 * rate:  # headers take 4.5 %, and TCP needs a moment to get going
                    break
            assert best > 0.8 * rate, (sender, to, best)
    assert not namespaces(os.getpid())


def test_devices_reach_their_edge_and_nobody_else(tmp_path: Path) -> None:
    config = load_config(None, TREE[1:])
    with build(config, tmp_path) as wiring:
        places = {
            address(wiring, "east", "cluster1"): "ConnectionRefusedError",  # it would answer
            address(wiring, "cloud", "core"): "Network is unreachable",
            address(wiring, "east", "core"): "Network is unreachable",
            address(wiring, "west", "cluster2"): "Network is unreachable",
        }
        for place, answer in places.items():
            _, said = inside(wiring, "east-0", SEND, place, "1").communicate(timeout=60)
            assert answer in said
        route = ["ip", "-n", wiring.namespaces["east-0"], "route", "add", "10.0.0.0/16", "via"]
        subprocess.run([*route, address(wiring, "east", "cluster1")], check=True)
        cloud = address(wiring, "cloud", "core")
        _, said = inside(wiring, "east-0", SEND, cloud, "1").communicate(timeout=60)
        assert "TimeoutError" in said  # the edge forwards nothing
    assert not namespaces(os.getpid())


def has(kind: str, tmp_path: Path) -> bool:
    """Whether this kernel has a queueing discipline."""
    with build(load_config(None, TREE[1:]), tmp_path) as wiring:
        add = ["tc", "-n", wiring.switch, "qdisc", "add", "dev", "lo", "root", kind]
        return subprocess.run([*add, "delay", "1ms"], capture_output=True).returncode == 0


def test_delay_and_loss_need_netem(tmp_path: Path) -> None:
    config = load_config(None, [*TREE[1:], "links={device: {up: 1mbit, delay: 200ms}}"])
    if has("netem", tmp_path):
        with build(config, tmp_path) as wiring:  # a connection takes both directions' delays
            seen = bits_per_second(wiring, "east-0", "east", "cluster1", 1000)
            assert seen < 8000 / 0.2
        return
    says = "kernel has no netem, which delay and loss need"
    with pytest.raises(ConfigError, match=says), build(config, tmp_path):
        pass
    assert not namespaces(os.getpid())


# -- federations ---------------------------------------------------------------------------------


def test_a_federation_gives_the_hash_of_memory_and_its_bytes_are_counted(
    memory: str, tmp_path: Path
) -> None:
    links = "links={device: {up: 2mbit, down: 8mbit}, edge: {up: 8mbit, down: 8mbit}}"
    out = tmp_path / "run"
    with started("run", *FEDERATION, "--set", links, *NETNS, "--out", str(out)) as run:
        said, errors = run.communicate(timeout=LIMIT_S)
    assert run.returncode == 0, errors
    done = summary(out)
    assert done["model_sha256"] == memory
    for link, wire in done["wire"].items():
        payload, messages = done["bytes"][link], done["messages"][link]
        packets = messages / 1448
        # A packet's headers take 66 bytes; the other direction's acknowledgements come on top.
        assert payload < messages < messages + 66 * packets < wire < 1.6 * messages, link
    lines = metrics(out)
    assert 0 < lines[0]["wire"]["device_up"] < lines[1]["wire"]["device_up"]
    assert lines[1]["wire"]["device_up"] <= done["wire"]["device_up"]
    assert "messages" in said and "wire" in said
    assert not namespaces(run.pid) and not (FOLDER / f"{run.pid}.json").exists()


@contextmanager
def following(log: Path) -> Iterator[Iterator[str]]:
    """While inside, yields a log's lines, from its beginning, as they come."""
    command = ["tail", "-n", "+1", "-F", str(log)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as tail:
        assert tail.stdout is not None
        try:
            yield tail.stdout
        finally:
            tail.kill()


def wait_for(lines: Iterator[str], *texts: str) -> None:
    """Wait until each of these has been in a line."""
    missing = set(texts)
    for line in lines:
        missing -= {text for text in missing if text in line}
        if not missing:
            return


@pytest.mark.slow
def test_partitions_of_a_device_a_cluster_and_the_cloud_change_no_bit(
    memory: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    slow = ["--set", "links={device: {up: 150kbit, down: 2mbit}}", "--set", "quorum.heartbeat=2"]
    with (
        started("run", *FEDERATION, *slow, *NETNS, "--out", str(out)) as run,
        following(out / "logs" / "east.log") as east,
        following(out / "logs" / "cloud.log") as cloud,
    ):
        line_with(run, "accuracy")
        for name, parent, missed in (
            ("east-0", east, ["east-0"]),
            ("west", cloud, ["west"]),
            ("cloud", cloud, ["east", "west"]),
        ):
            turn("down", name, out)
            wait_for(parent, *(f" {child} is away" for child in missed))
            turn("up", name, out)
            wait_for(parent, *(f" {child} is here" for child in missed))
        assert run.poll() is None, "it ended before it could be disturbed"
        _, errors = run.communicate(timeout=LIMIT_S)
    assert run.returncode == 0, errors
    done = summary(out)
    assert done["model_sha256"] == memory
    assert done["faults"]["reconnects"] >= 4 and done["faults"]["restarts"] == 0
    assert not namespaces(run.pid)


START = """
import sys
from pathlib import Path
from deploy.testbed.build import testbed
from hierfl.config import load_config
with testbed(load_config(None), Path(sys.argv[1])):
    pass
"""


def test_what_a_killed_launcher_leaves_the_next_start_removes(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    long = [*TINY, *TREE, "--set", "algorithm.rounds=100000"]
    with build(load_config(None, TREE[1:]), two):
        with started("run", *long, *NETNS, "--out", str(one)) as run:
            line_with(run, "accuracy")
            for verb, done in (("cut", "cut"), ("restore", "restored")):
                there = hierfl("link", verb, "east-0", "--run", str(one))
                assert there.stdout == f"east-0: link {done}\n", there.stderr
            with pytest.raises(ConfigError, match="several testbeds are running"):
                turn("down", "east-0", None)
            left = nodes(one)
            run.kill()
            wait_gone(list(left))
        assert len(namespaces(run.pid)) == 7
        with pytest.raises(ConfigError, match="no testbed is running in"):
            turn("down", "east-0", one)
        subprocess.run([sys.executable, "-c", START, str(tmp_path)], env=ENVIRONMENT, check=True)
        assert not namespaces(run.pid) and not (FOLDER / f"{run.pid}.json").exists()
        assert len(namespaces(os.getpid())) == 7  # whose launcher lives
    assert not namespaces(os.getpid())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["link", "cut", "east-7", "--run", "elsewhere"], "no testbed is running in"),
        (
            ["run", *NETNS, "--set", "runtime=memory"],
            "--testbed: runtime: memory runs in one process",
        ),
    ],
)
def test_what_cannot_be_is_said(arguments: Sequence[str], says: str, tmp_path: Path) -> None:
    done = hierfl(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and says in done.stderr
