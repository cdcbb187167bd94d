"""Peers that vanish without closing their connection, as a machine without power does."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import pytest

import hierfl.link.client
from hierfl.link import link_pb2 as pb
from hierfl.link.client import LinkClient
from hierfl.link.link_grid import LinkGrid
from tests.link.logs import On
from tests.link.raw import RawChild, Wire, hello
from tests.link.trees import LIMIT_S, Leaf, echo_app, say, text

HEARTBEAT_S = 1.0
SLACK_S = 2.0
"""What two busy cores may add."""


@pytest.fixture
def grid() -> Iterator[LinkGrid]:
    with LinkGrid("127.0.0.1:0", ["a"], heartbeat=HEARTBEAT_S) as grid:
        yield grid


def test_a_seat_is_free_within_a_heartbeat(grid: LinkGrid, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newer connection waits as long as the older may be alive, and not longer."""
    monkeypatch.setattr(hierfl.link.client, "FIRST_PAUSE_S", 0.05)
    address, busy = grid.open(), threading.Event()
    with Wire(address) as wire, RawChild(wire.address, hello("a")) as gone:
        gone.welcomed()
        wire.vanish()
        start = time.monotonic()
        with On(logging.getLogger("hierfl.link.grpc_server"), "a is attached already", busy.set):
            leaf = Leaf(LinkClient(address, "a", echo_app("a")), "a")
            assert busy.wait(LIMIT_S)
        (reply,) = grid.send_and_receive([say("x", 1)])
        assert text(reply) == "a heard x"
        assert HEARTBEAT_S / 2 <= time.monotonic() - start < HEARTBEAT_S + SLACK_S
    assert (grid.faults().restarts, grid.faults().rejected) == (1, 0)
    grid.close()
    assert leaf.join() is None


def test_who_is_alive_keeps_the_seat_however_silent(grid: LinkGrid) -> None:
    """Nothing is said for several heartbeats but what keeps the stream alive."""
    address = grid.open()
    leaf = Leaf(LinkClient(address, "a", echo_app("a"), heartbeat=HEARTBEAT_S), "a")
    assert not grid.wait_for_children(LIMIT_S)
    with RawChild(address, hello("a")) as second:
        assert second.dismissed().code == pb.Goodbye.BUSY
    with grid._presence:
        assert not grid._presence.wait_for(grid.missing, 3 * HEARTBEAT_S)
    assert grid.faults().reconnects == 0
    grid.close()
    assert leaf.join() is None


def test_a_child_looks_for_a_parent_that_has_vanished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hierfl.link.client, "FIRST_PAUSE_S", 0.05)
    with LinkGrid("127.0.0.1:0", ["a"], heartbeat=3600.0) as grid, Wire(grid.open()) as wire:
        client = LinkClient(wire.address, "a", echo_app("a"), heartbeat=HEARTBEAT_S)
        leaf = Leaf(client, "a")
        grid.send_and_receive([say("the welcome has been read when this is", 1)])
        wire.vanish()
        start = time.monotonic()
        (reply,) = grid.send_and_receive([say("x", 1)])
        assert text(reply) == "a heard x"
        assert time.monotonic() - start < HEARTBEAT_S + SLACK_S
        assert (grid.faults().reconnects, grid.faults().late) == (1, 0)
        grid.close()
        assert leaf.join() is None
