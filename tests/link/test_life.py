"""A LinkGrid's life: opening, waiting for its children, closing; nothing is left behind."""

from __future__ import annotations

import logging
import socket
import threading

import pytest
from grpc._cython.cygrpc import ExecuteBatchError

from hierfl.errors import LinkError, RunFailed
from hierfl.link.client import LinkClient
from hierfl.link.link_grid import LinkGrid
from tests.link.raw import RawChild, hello
from tests.link.trees import LIMIT_S, Leaf, LinkTree, echo_app, say


def test_an_address_in_use() -> None:
    with LinkGrid("127.0.0.1:0", ["a"]) as first:
        address = first.open()
        with LinkGrid(address, ["a"]) as second:
            with pytest.raises(LinkError, match=f"cannot listen at {address}") as caught:
                second.open()
            assert caught.value.hint is not None
            assert caught.value.exit_code == 1
            assert not second.is_open
        leaf = Leaf(LinkClient(address, "a", echo_app("a")), "a")
        assert not first.wait_for_children(LIMIT_S)
        first.close()
        assert leaf.join() is None


def test_an_address_that_another_program_uses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with LinkGrid(address, ["a"]) as grid, pytest.raises(LinkError, match="cannot listen"):
            grid.open()


@pytest.mark.parametrize("address", ["nowhere.invalid:0", "192.0.2.1:0"])
def test_an_address_that_is_not_this_machine_s(address: str) -> None:
    with LinkGrid(address, ["a"]) as grid, pytest.raises(LinkError, match="cannot listen"):
        grid.open()


def test_an_address_can_be_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        grid = LinkGrid(f"127.0.0.1:{other.getsockname()[1]}", ["a"])
        with pytest.raises(LinkError):
            grid.open()
    with grid:
        grid.open()
        assert grid.is_open


def test_the_kernel_chooses_a_port() -> None:
    with LinkGrid("127.0.0.1:0", ["a"]) as first, LinkGrid("localhost:0", ["a"]) as second:
        ports = set()
        for grid, host in ((first, "127.0.0.1"), (second, "localhost")):
            name, _, port = grid.open().rpartition(":")
            assert name == host
            ports.add(int(port))
    assert len(ports) == 2 and min(ports) > 0


def test_waiting_for_children_ends_with_the_last_one() -> None:
    with LinkGrid("127.0.0.1:0", ["a", "b"]) as grid:
        address = grid.open()
        done = threading.Event()

        def wait() -> None:
            assert grid.wait_for_children(LIMIT_S) == []
            done.set()

        waiting = threading.Thread(target=wait, name="waiting")
        waiting.start()
        with RawChild(address, hello("a")) as a, RawChild(address, hello("b")) as b:
            a.welcomed(), b.welcomed()
            assert done.wait(LIMIT_S)
        waiting.join()


def test_closing_tells_the_children_that_the_run_is_done() -> None:
    tree = LinkTree(["a", "b"], echo_app, 0.0)
    tree.close()
    assert [leaf.outcome for leaf in tree.leaves.values()] == [None, None]
    assert not tree.grid.is_open


def test_an_error_tells_the_children_that_the_run_has_failed() -> None:
    with pytest.raises(ZeroDivisionError), LinkGrid("127.0.0.1:0", ["a"]) as grid:  # noqa: PT012
        leaf = Leaf(LinkClient(grid.open(), "a", echo_app("a")), "a")
        assert not grid.wait_for_children(LIMIT_S)
        raise ZeroDivisionError("by nought")
    outcome = leaf.join()
    assert isinstance(outcome, RunFailed)
    assert "by nought" in str(outcome)


def test_closing_twice_and_before_opening() -> None:
    grid = LinkGrid("127.0.0.1:0", ["a"])
    grid.close()
    grid.open()
    grid.close()
    grid.close()
    assert not grid.is_open


def test_a_child_that_is_busy_when_the_run_ends_leaves_when_it_is_done() -> None:
    tree = LinkTree(["a", "b"], echo_app, 0.0)
    tree.hold("b")
    assert len(tree.grid.send_and_receive([say("x", n) for n in (1, 2)], timeout=0.05)) == 1
    tree.grid.close()
    assert tree.leaves["a"].join() is None
    tree.release("b")
    assert tree.leaves["b"].join() is None
    assert tree.ran["b"] == ["query.echo"]


def test_a_child_that_leaves_while_the_last_word_is_sent_is_no_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of itself gRPC would report an error with a traceback."""

    def gone(child: str, attached: bool) -> None:
        if not attached:  # in the task that serves the stream, where gRPC raises it
            raise ExecuteBatchError("the last word")

    grid = LinkGrid("127.0.0.1:0", ["a"], on_presence=gone)
    with grid, RawChild(grid.open(), hello("a")) as child:
        child.welcomed()
        grid.close()
    assert not [record for record in caplog.records if record.exc_info]
    log = logging.getLogger("grpc._cython.cygrpc")
    assert log.filter(log.makeRecord(log.name, logging.ERROR, "", 0, "a fault", (), None))


def test_a_peer_that_has_not_said_hello_does_not_hold_up_the_end() -> None:
    with LinkGrid("127.0.0.1:0", ["a"]) as grid:
        address = grid.open()
        silent = RawChild(address)
        with RawChild(address, hello("a")) as child:
            child.welcomed()
    silent.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "link"]


def test_a_grid_can_be_opened_again() -> None:
    grid = LinkGrid("127.0.0.1:0", ["a"])
    for run in ("first", "second", "third"):
        with grid, RawChild(grid.open(run=run), hello("a")) as child:
            assert child.welcomed().run == run
    assert grid.missing() == ["a"]
