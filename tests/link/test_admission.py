"""Who is let in, and what everyone else is told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import grpc
import pytest

import hierfl.link.client
from hierfl.errors import PeerRefused
from hierfl.link import frames
from hierfl.link import link_pb2 as pb
from hierfl.link.client import LinkClient
from hierfl.link.link_grid import LinkGrid
from tests.link.logs import On
from tests.link.raw import RawChild, hello
from tests.link.trees import LIMIT_S, Leaf, echo_app, say, text

MAX_FRAME = 100_000


class Presence:
    """Notes who came and went, and lets a test wait for it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bool]] = []
        self._changed = threading.Condition()

    def __call__(self, name: str, attached: bool) -> None:
        with self._changed:
            self.seen.append((name, attached))
            self._changed.notify_all()

    def wait(self, *seen: tuple[str, bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.seen == list(seen), LIMIT_S), self.seen


@pytest.fixture
def presence() -> Presence:
    return Presence()


@pytest.fixture
def grid(presence: Presence) -> Iterator[LinkGrid]:
    with LinkGrid("127.0.0.1:0", ["a", "b"], plan="plan", on_presence=presence) as grid:
        yield grid


@pytest.fixture
def address(grid: LinkGrid) -> str:
    return grid.open(model="model", run="run-7", max_frame=MAX_FRAME)


def test_a_child_is_welcomed(grid: LinkGrid, address: str) -> None:
    assert grid.missing() == ["a", "b"] and grid.get_node_ids() == []
    with RawChild(address, hello("b")) as child:
        assert child.welcomed() == pb.Welcome(
            run="run-7", node_id=2, model="model", max_frame=MAX_FRAME
        )
        assert grid.missing() == ["a"] and grid.get_node_ids() == [2]
        assert grid.wait_for_children(0.01) == ["a"]
    assert grid.faults().rejected == 0


def test_a_child_that_knows_no_fingerprints_is_welcomed(address: str) -> None:
    with RawChild(address, hello("a", model="", plan="")) as child:
        assert child.welcomed().node_id == 1


def test_a_child_with_the_right_fingerprints_is_welcomed(address: str) -> None:
    with RawChild(address, hello("a", model="model", plan="plan", run="run-6")) as child:
        assert child.welcomed().run == "run-7"


def test_presence_is_told(address: str, presence: Presence) -> None:
    with RawChild(address, hello("a")) as child:
        child.welcomed()
        presence.wait(("a", True))
        child.finish()
        presence.wait(("a", True), ("a", False))


OTHER = frames.PROTOCOL + 1


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (hello("a", protocol=OTHER), f"'a' speaks version {OTHER} of the protocol"),
        (hello("a", protocol=0), "'a' speaks version 0 of the protocol"),
        (hello("a", model="another"), "a has another model"),
        (hello("a", plan="another"), "a has another configuration"),
        (hello("mallory"), "no child of this node is called 'mallory'"),
        (hello(""), "no child of this node is called ''"),
        (hello("x" * 5000), "x" * 64 + "...'"),
        (frames.message(b"x"), "the first frame is no hello"),
        (frames.progress(b"x"), "the first frame is no hello"),
        (frames.goodbye(pb.Goodbye.DONE, ""), "the first frame is no hello"),
        (frames.welcome(run="", node_id=1, model="", max_frame=1), "the first frame is no hello"),
        (b"GET / HTTP/1.1\r\n\r\n", "it sent 18 bytes that are no frame"),
        (b"", "it sent a frame of no known kind, 0 bytes"),
        (b"\x7a\x03abc", "it sent a frame of no known kind, 5 bytes"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_others_are_refused(grid: LinkGrid, address: str, first: bytes, reason: str) -> None:
    with RawChild(address, first) as child:
        goodbye = child.dismissed()
    assert goodbye.code == pb.Goodbye.REFUSED
    assert reason in goodbye.reason and len(goodbye.reason) < 300
    assert grid.faults().rejected == 1
    with RawChild(address, hello("a")) as child:
        assert child.welcomed().node_id == 1


def test_a_client_that_is_refused_says_why(grid: LinkGrid, address: str) -> None:
    refused = Leaf(LinkClient(address, "a", echo_app("a"), plan="another"), "a").join()
    assert isinstance(refused, PeerRefused)
    assert address in str(refused) and "another configuration" in str(refused)


def test_a_stream_that_ends_before_its_hello(grid: LinkGrid, address: str) -> None:
    with RawChild(address) as child:
        child.finish()
        assert child.dismissed().reason == "the stream ended before its hello"
    assert grid.faults().rejected == 1


def test_a_silent_peer_is_sent_away() -> None:
    with LinkGrid("127.0.0.1:0", ["a"], heartbeat=0.5) as grid, RawChild(grid.open()) as child:
        assert child.dismissed().reason == "it did not say hello in time"


def test_a_first_frame_that_is_too_long_is_not_read(grid: LinkGrid, address: str) -> None:
    with RawChild(address, hello("x" * MAX_FRAME)) as child:
        with pytest.raises(grpc.RpcError) as caught:
            child.read()
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    with RawChild(address, hello("a")) as child:
        assert child.welcomed().node_id == 1


def test_a_name_that_is_taken_is_busy(grid: LinkGrid, address: str) -> None:
    with RawChild(address, hello("a")) as first:
        first.welcomed()
        with RawChild(address, hello("a")) as second:
            goodbye = second.dismissed()
    assert (goodbye.code, goodbye.reason) == (pb.Goodbye.BUSY, "a is attached already")


def test_a_client_waits_until_its_name_is_free(
    grid: LinkGrid, address: str, presence: Presence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hierfl.link.client, "FIRST_PAUSE_S", 0.01)
    with RawChild(address, hello("a")) as first:
        first.welcomed()
        with On(
            logging.getLogger("hierfl.link.grpc_server"), "a is attached already", first.finish
        ):
            leaf = Leaf(LinkClient(address, "a", echo_app("a")), "a")
            presence.wait(("a", True), ("a", False), ("a", True))
    (reply,) = grid.send_and_receive([say("x", 1)])
    assert text(reply) == "a heard x"
    grid.close()
    assert leaf.join() is None
