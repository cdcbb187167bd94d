"""Whoever dies, at whatever moment: within ten seconds all has ended, or all runs again."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.system.harness import wait_gone
from tests.unit.deploy.launcher.federation import DEFAULT, Federation

WITHIN_S = 10.0


@contextmanager
def ends_in_time(run: Federation) -> Iterator[list[int]]:
    """See that nothing is left of a run soon after the block; yields where to add more pids."""
    pids = [run.launcher.pid, run.server(), *(node.pid for node in run.nodes.values())]
    yield pids
    began = time.monotonic()
    run.launcher.wait(WITHIN_S)
    wait_gone(pids, WITHIN_S)
    assert time.monotonic() - began < WITHIN_S


def again(run: Federation) -> None:
    """Wait until all nodes have been started again."""
    before = dict(run.nodes)
    for _ in DEFAULT:
        run.accept()
    assert sorted(run.nodes) == DEFAULT
    wait_gone([node.pid for node in before.values()], limit=0)


def stop_before_a_restart(run: Federation, server: int) -> None:
    """Kill a node, and stop the fork server before it is ordered to start the node again."""
    os.kill(run.nodes["east-1"].pid, signal.SIGKILL)
    log = run.out / "logs" / "east-1.log"
    wait_until(lambda: "starts again in 0.2 s" in log.read_text())
    os.kill(server, signal.SIGSTOP)


def wait_until(so: Callable[[], object]) -> None:
    """Wait until something is so."""
    deadline, pause = time.monotonic() + WITHIN_S, threading.Event()
    while not so():
        assert time.monotonic() < deadline
        pause.wait(0.01)


def open_files(pid: int) -> list[Path]:
    """Return what a process has open."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it is closed meanwhile
            found.append(link.readlink())
    return found


# -- the fork server -----------------------------------------------------------------------------


def test_the_end_of_the_fork_server_is_that_of_the_run(federation):
    run = federation().up()
    run.nodes["east-1"].order("stubborn")
    os.kill(run.nodes["west"].pid, signal.SIGSTOP)
    with ends_in_time(run):
        os.kill(run.server(), signal.SIGKILL)
    code, _, stderr = run.end()
    assert code == 1
    assert "forked from ended with signal SIGKILL" in stderr and "Traceback" not in stderr


def test_all_run_again_after_the_end_of_the_fork_server(federation):
    run = federation("restart=always").up()
    server = run.server()
    os.kill(server, signal.SIGKILL)
    again(run)
    assert run.server() != server
    run.nodes["cloud"].order("exit 0")
    code, _, stderr = run.end()
    assert code == 0
    assert "forked from ended with signal SIGKILL; all start again" in stderr


def test_a_fork_server_that_dies_with_an_order_unread(federation):
    run = federation("restart=always").up()
    server = run.server()
    stop_before_a_restart(run, server)
    log = run.out / "logs" / "east-1.log"
    wait_until(lambda: log in open_files(run.launcher.pid))  # it is ordered at once
    os.kill(server, signal.SIGKILL)
    again(run)
    run.nodes["cloud"].order("exit 0")
    assert run.end()[0] == 0


def test_a_fork_server_that_does_not_answer_is_replaced(federation):
    run = federation("restart=always", "name=hasty").up()
    server = run.server()
    stop_before_a_restart(run, server)
    again(run)
    wait_gone([server], limit=0)
    run.nodes["cloud"].order("exit 0")
    assert run.end()[0] == 0


# -- the launcher --------------------------------------------------------------------------------


@pytest.mark.parametrize("nodes", [0, 1, 5, 9])
def test_a_killed_launcher_leaves_nothing(federation, nodes):
    run = federation()
    for _ in range(nodes):
        run.accept()
    pids = [node.pid for node in run.nodes.values()]
    server = {run.server()} if pids else set()
    run.launcher.kill()
    wait_gone([*pids, *server], WITHIN_S)
    assert all(node.gone() for node in run.nodes.values())


def test_a_killed_launcher_leaves_nothing_that_is_stopped_or_stubborn_or_an_orphan(federation):
    run = federation().up()
    run.nodes["east-1"].order("stubborn")
    orphan = int(run.nodes["east-2"].order("leave"))
    os.kill(run.nodes["west"].pid, signal.SIGSTOP)
    with ends_in_time(run) as pids:
        pids.append(orphan)
        os.kill(run.server(), signal.SIGSTOP)
        run.launcher.kill()


def test_what_a_node_has_left_behind_ends_with_the_run(federation):
    run = federation().up()
    orphan = int(run.nodes["east-2"].order("leave"))
    for name in [*DEFAULT[1:], "cloud"]:
        run.nodes[name].order("exit 0")
    assert run.end()[0] == 0
    wait_gone([orphan], limit=0)


@pytest.mark.parametrize("stuck", ["node", "fork server"])
def test_a_launcher_that_is_asked_to_end_does_so(federation, stuck):
    run = federation().up()
    with ends_in_time(run):
        os.kill(run.nodes["east"].pid if stuck == "node" else run.server(), signal.SIGSTOP)
        run.launcher.terminate()
    assert run.end()[0] == 130


def test_who_asks_twice_does_not_wait(federation):
    run = federation("name=patient").up()
    run.nodes["east-1"].order("stubborn")
    with ends_in_time(run):
        run.launcher.terminate()
        assert run.nodes["east-2"].gone()  # it is being stopped
        run.launcher.terminate()
    assert run.end()[0] == 130
