"""The launcher against real processes: it starts, supervises and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import grpc
import pytest

from deploy.launcher.local import node_command
from deploy.launcher.ports import Ports
from deploy.launcher.process import describe, quote
from deploy.launcher.server import ENVIRONMENT
from hierfl.errors import ConfigError
from tests.unit.deploy.launcher.federation import DEFAULT, LIMIT


def test_a_run_that_ends_well(federation):
    run = federation().up()
    run.nodes["cloud"].order("say round 1")
    run.nodes["cloud"].order("complain cloud warns")
    run.nodes["east-0"].order("say device speaks")
    run.nodes["east-0"].order("complain device warns")
    for name in [*DEFAULT[1:], "cloud"]:
        run.nodes[name].order("exit 0")
    assert run.end() == (0, "round 1\n", "")
    assert run.log("cloud") == "cloud warns\n"
    assert run.log("east-0") == "device speaks\ndevice warns\n"
    assert not (run.out / "stopped").exists()


def test_nodes_that_linger_after_the_cloud_are_stopped(federation):
    run = federation().up()
    run.nodes["west-1"].order("stubborn")
    run.nodes["cloud"].order("exit 0")
    assert run.end() == (0, "", "")
    assert (run.out / "stopped").read_text().split() == ["device"] * 5 + ["edge"] * 2


@pytest.mark.parametrize(
    ("name", "code", "shown", "expected"),
    [
        ("east-1", 3, "device east-1 ended with exit code 3;", 1),
        ("west", 2, "edge west ended with exit code 2;", 2),
        ("east-0", 0, "device east-0 ended with exit code 0 before the run was over;", 1),
        ("cloud", 5, "cloud ended with exit code 5;", 1),
    ],
)
def test_a_node_that_fails_ends_the_run(federation, name, code, shown, expected):
    run = federation("name=hasty").up()
    run.nodes[name].order("complain what went wrong")
    run.nodes[name].order(f"exit {code}")
    status, _, stderr = run.end()
    assert status == expected
    assert shown in stderr
    assert "  | what went wrong\n" in stderr
    assert str(run.out / "logs" / f"{name}.log") in stderr
    assert "Traceback" not in stderr


def test_a_node_that_is_killed_ends_the_run(federation):
    run = federation().up()
    os.kill(run.nodes["west-2"].pid, signal.SIGKILL)
    status, _, stderr = run.end()
    assert status == 1
    assert "device west-2 ended with signal SIGKILL" in stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_stops_from_the_leaves_up(federation, number):
    run = federation().up()
    run.launcher.send_signal(number)
    status, _, stderr = run.end()
    assert (status, stderr) == (130, "")
    stopped = (run.out / "stopped").read_text().split()
    assert stopped == ["device"] * 6 + ["edge"] * 2 + ["cloud"]


def test_no_node_outlives_a_killed_launcher(federation):
    run = federation().up()
    run.launcher.kill()
    assert all(node.gone() for node in run.nodes.values())


def test_no_node_outlives_an_exception_in_the_launcher(federation):
    run = federation("name=broken")
    status, _, stderr = run.end()
    assert status == 1
    assert "ZeroDivisionError" in stderr
    run.listener.setblocking(False)
    with pytest.raises(BlockingIOError):  # noqa: PT012
        while True:
            connection, _ = run.listener.accept()
            with connection:
                connection.settimeout(LIMIT)
                while connection.recv(4096):
                    pass


def test_a_dead_node_is_started_again(federation):
    run = federation("restart=always").up()
    for _ in range(2):
        before = run.nodes["east-1"]
        os.kill(before.pid, signal.SIGKILL)
        after = run.accept()
        assert (after.name, after.arguments) == ("east-1", before.arguments)
        assert after.pid != before.pid
        assert before.gone()
    run.nodes["cloud"].order("exit 0")
    assert run.end()[0] == 0
    assert run.log("east-1").splitlines() == [
        "--- ended with signal SIGKILL; starts again in 0.2 s",
        "--- ended with signal SIGKILL; starts again in 0.4 s",
    ]


def test_bad_configuration_is_not_tried_again(federation):
    run = federation("restart=always").up()
    run.nodes["east-1"].order("exit 2")
    assert run.end()[0] == 2


def test_what_nodes_are_given(federation):
    run = federation("edges.west.address=127.0.0.1:4999").up()
    for node in run.nodes.values():
        assert node.session == node.pid
        assert node.environment == ENVIRONMENT
    arguments = [tuple(node.arguments) for node in run.nodes.values()]
    assert len(set(arguments)) == 1
    assert arguments[0][::2] == ("--set", "--set")
    keys, addresses = zip(*(text.split("=") for text in arguments[0][1::2]), strict=True)
    assert keys == ("cloud.address", "edges.0.address")
    ports = {int(address.removeprefix("127.0.0.1:")) for address in addresses}
    assert len(ports) == 2
    assert 0 not in ports
    run.launcher.terminate()
    assert run.end()[0] == 130


def test_the_command_line_of_a_node(tmp_path):
    sets = ["--set", "cloud.address=127.0.0.1:7"]
    config = str(tmp_path / "config.yaml")
    start = ["-m", "hierfl"]
    assert node_command("device", "a-0", sets, tmp_path) == [
        *start, "device", config, "--name", "a-0", *sets,
        "--state", str(tmp_path / "checkpoints"),
    ]  # fmt: skip
    assert node_command("cloud", "cloud", sets, tmp_path) == [
        *start, "cloud", config, "--name", "cloud", *sets, "--out", str(tmp_path),
        "--launched",
    ]  # fmt: skip


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_held_port_is_for_one_grpc_server_at_a_time(host):
    def server(address: str) -> grpc.aio.Server:
        made = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        assert made.add_insecure_port(address) == int(address.rpartition(":")[2])
        return made

    async def check(address: str) -> None:
        for _ in range(3):
            first = server(address)
            await first.start()
            async with grpc.aio.insecure_channel(address) as channel:
                await asyncio.wait_for(channel.channel_ready(), LIMIT)
            with pytest.raises(RuntimeError, match="Failed to bind"):
                server(address)
            await first.stop(None)

    with Ports() as ports:
        address = ports.fix("cloud.address", f"{host}:0")
        assert ports.fix("cloud.address", f"{host}:0") != address
        with pytest.raises(OSError, match="in use"), socket.socket() as other:
            other.bind(("0.0.0.0", int(address.rpartition(":")[2])))
        asyncio.run(check(address))


def test_a_fixed_port_is_left_alone_and_a_foreign_host_is_refused():
    with Ports() as ports:
        assert ports.fix("cloud.address", "elsewhere:9000") == "elsewhere:9000"
        with pytest.raises(ConfigError, match=r"^edges\.0\.address: 192\.0\.2\.1:0 cannot be had"):
            ports.fix("edges.0.address", "192.0.2.1:0")


def test_lines_of_a_log():
    assert quote(b"\xff first\n" + b"x" * 500 + b"\nlast\n").splitlines() == [
        "  | \ufffd first", "  | " + "x" * 400, "  | last",
    ]  # fmt: skip
    assert quote(b"") == "  | (empty)"


def test_who_was_told_of_a_failure_is_not_named(federation):
    run = federation().up()
    run.nodes["east-1"].order("complain error: the run has failed: because")
    run.nodes["east-1"].order("exit 3")
    run.nodes["east"].order("exit 3")
    run.nodes["cloud"].order("complain error: because")
    run.nodes["cloud"].order("exit 1")
    code, _, stderr = run.end()
    assert code == 1
    assert "cloud ended with exit code 1" in stderr and "because" in stderr


def test_exit_codes_in_words():
    assert describe(3) == "exit code 3"
    assert describe(-9) == "signal SIGKILL"
    assert describe(-63) == "signal 63"


def test_processes_have_names_that_say_what_they_are(federation):
    run = federation().up()
    titles = {
        pid: Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0")
        for pid in (run.nodes["east-1"].pid, run.server())
    }
    node, server = titles.values()
    hub = run.listener.getsockname()[1]
    assert node.startswith(f"local_nodes.py node {run.out} {hub} device east-1 --set cloud.address")
    assert server == "hierfl fork-server"
    run.launcher.terminate()
    assert run.end()[0] == 130


def test_nothing_but_what_is_installed_is_on_the_path_of_a_node(federation):
    run = federation().up()
    for node in run.nodes.values():
        assert not {"", str(run.out), str(Path(__file__).parent)} & {*node.path}
    run.launcher.terminate()
    assert run.end()[0] == 130
