"""GrpcServer that break: the child dials again, and no message is lost or counts twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

import hierfl.link.client
from hierfl.errors import RunFailed
from hierfl.link.client import LinkClient
from hierfl.link.link_grid import LinkGrid
from tests.link.raw import Wire
from tests.link.trees import LIMIT_S, Leaf, echo_app, say, text


@pytest.fixture(autouse=True)
def _dial_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hierfl.link.client, "FIRST_PAUSE_S", 0.01)


class Slow(ClientApp):
    """An echo app that can be kept inside a request.

    Attributes:
        entered: set once it is inside a request.
        go: lets it out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go = threading.Event(), threading.Event()
        self.go.set()
        self.ran = 0
        self._app = echo_app("a")

    def __call__(self, message: Message, context: Context) -> Message:
        self.ran += 1
        self.entered.set()
        assert self.go.wait(LIMIT_S)
        return self._app(message, context)


@pytest.fixture
def app() -> Slow:
    return Slow()


@pytest.fixture
def grid() -> Iterator[LinkGrid]:
    with LinkGrid("127.0.0.1:0", ["a"]) as grid:
        yield grid


@pytest.fixture
def wire(grid: LinkGrid) -> Iterator[Wire]:
    with Wire(grid.open()) as wire:
        yield wire


@pytest.fixture
def leaf(wire: Wire, grid: LinkGrid, app: ClientApp) -> Iterator[Leaf]:
    leaf = Leaf(LinkClient(wire.address, "a", app), "a")
    assert not grid.wait_for_children(LIMIT_S)
    yield leaf
    grid.close()
    assert leaf.join() is None


def away(grid: LinkGrid) -> None:
    """Wait until the grid has noticed that the child is away."""
    with grid._presence:
        assert grid._presence.wait_for(grid.missing, LIMIT_S)


def test_an_idle_stream_that_breaks(grid: LinkGrid, wire: Wire, leaf: Leaf) -> None:
    for i in range(1, 4):
        (reply,) = grid.send_and_receive([say(str(i), 1)])
        assert text(reply) == f"a heard {i}"
        wire.cut()
        away(grid)
        assert not grid.wait_for_children(LIMIT_S)
        assert grid.faults().reconnects == i
    assert leaf.client.responder.sent == grid.ledger.counts["a"]["up"]
    assert (grid.faults().late, grid.faults().rejected) == (0, 0)


def test_a_request_to_a_child_that_is_away_waits_for_it(
    grid: LinkGrid, wire: Wire, leaf: Leaf, app: Slow
) -> None:
    target, wire.target = wire.target, "127.0.0.1:9"
    wire.cut()
    away(grid)
    ids = grid.push_messages([say(str(i), 1) for i in range(3)])
    wire.target = target
    assert not grid.wait_for_children(LIMIT_S)
    grid.send_and_receive([say("last", 1)])
    assert [text(r) for r in grid.pull_messages(ids)] == [f"a heard {i}" for i in range(3)]
    assert app.ran == 4


def test_a_request_in_flight_is_sent_again_and_counts_once(
    grid: LinkGrid, wire: Wire, leaf: Leaf, app: Slow
) -> None:
    app.go.clear()
    ids = grid.push_messages([say("x", 1), say("y", 1)])
    assert app.entered.wait(LIMIT_S)
    wire.cut()
    away(grid)
    app.go.set()
    (reply,) = grid.send_and_receive([say("z", 1)])
    assert text(reply) == "a heard z"
    assert [text(r) for r in grid.pull_messages(ids)] == ["a heard x", "a heard y"]
    assert app.ran == 3
    assert (grid.faults().reconnects, grid.faults().late, grid.faults().rejected) == (1, 0, 0)
    counts = grid.ledger.counts["a"]
    assert counts["down"].frames == 3
    assert counts["up"] == leaf.client.responder.sent
    assert counts["up"].frames == 3


def test_a_request_that_nobody_waits_for_is_not_sent_again(
    grid: LinkGrid, wire: Wire, leaf: Leaf, app: Slow
) -> None:
    target, wire.target = wire.target, "127.0.0.1:9"
    wire.cut()
    away(grid)
    assert grid.send_and_receive([say("x", 1)], timeout=0.01) == []
    wire.target = target
    assert not grid.wait_for_children(LIMIT_S)
    (reply,) = grid.send_and_receive([say("y", 1)])
    assert text(reply) == "a heard y"
    assert (app.ran, grid.faults().late) == (1, 0)


def test_many_cuts(grid: LinkGrid, wire: Wire, leaf: Leaf, app: Slow) -> None:
    said = []
    for i in range(20):
        ids = grid.push_messages([say(str(i), 1)])
        wire.cut()  # now and then before the request, the reply or the new hello is through
        grid.send_and_receive([say("next", 1)])
        said += [text(reply) for reply in grid.pull_messages(ids)]
    assert said == [f"a heard {i}" for i in range(20)]
    assert app.ran == 40
    assert leaf.client.responder.sent == grid.ledger.counts["a"]["up"]
    assert (grid.faults().late, grid.faults().rejected) == (0, 0)


def test_a_parent_that_is_started_again(wire: Wire, grid: LinkGrid, leaf: Leaf) -> None:
    grid.send_and_receive([say("the first welcome has been read when this is", 1)])
    with LinkGrid("127.0.0.1:0", ["z", "a"]) as second:
        wire.target = second.open(run=leaf.client._run)
        wire.cut()
        with second._presence:
            assert second._presence.wait_for(lambda: 2 in second.get_node_ids(), LIMIT_S)
        (reply,) = second.send_and_receive([say("", 2, "query.node")])
        assert text(reply) == "2"
        assert second.faults().reconnects == second.faults().restarts == 0


def test_a_parent_in_another_run_is_none(wire: Wire, grid: LinkGrid, app: ClientApp) -> None:
    leaf = Leaf(LinkClient(wire.address, "a", app), "a")
    assert not grid.wait_for_children(LIMIT_S)
    grid.send_and_receive([say("the first welcome has been read when this is", 1)])
    with LinkGrid("127.0.0.1:0", ["z", "a"]) as second:
        wire.target = second.open(run="another run")
        wire.cut()
        error = leaf.join()
    assert isinstance(error, RunFailed) and "in another run now" in str(error)


def test_a_port_that_has_just_been_used_can_be_used_again(app: Slow) -> None:
    with LinkGrid("127.0.0.1:0", ["a"]) as first:
        address = first.open()
        leaf = Leaf(LinkClient(address, "a", app), "a")
        assert not first.wait_for_children(LIMIT_S)
        first.close()
        assert leaf.join() is None
    with LinkGrid(address, ["a"]) as second:
        assert second.open() == address
        leaf = Leaf(LinkClient(address, "a", app), "a")
        (reply,) = second.send_and_receive([say("x", 1)])
        assert text(reply) == "a heard x"
        second.close()
        assert leaf.join() is None
