"""LinkClient, and parents that say goodbye, break the protocol or are not there."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

import hierfl.link.client
from hierfl.errors import HierflError, LinkError, ParentFailed, PeerRefused
from hierfl.link import flower_compat, frames
from hierfl.link import link_pb2 as pb
from hierfl.link.client import LinkClient
from hierfl.link.link_grid import LinkGrid
from hierfl.link.loop import LinkLoop
from tests.link.raw import RawParent
from tests.link.trees import LIMIT_S, Leaf, echo_app, say

WELCOME = frames.welcome(run="run-7", node_id=5, model="m", max_frame=1000)


@pytest.fixture(autouse=True)
def _dial_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hierfl.link.client, "FIRST_PAUSE_S", 0.01)


def outcome(*sent: bytes, **options: object) -> tuple[str, BaseException | None]:
    """Return the parent's address and what `serve` raises at a parent that sends these frames."""

    def script(heard: Iterator[bytes]) -> Iterator[bytes]:
        next(heard)
        yield from sent
        for _ in heard:
            pass

    with RawParent(script) as parent:
        client = LinkClient(parent.address, "a", echo_app("a"), **options)  # type: ignore[arg-type]
        return parent.address, Leaf(client, "a").join()


def test_a_client_says_hello_first_and_knows_its_run_at_the_next() -> None:
    hellos: list[pb.Frame] = []

    def script(heard: Iterator[bytes]) -> Iterator[bytes]:
        hellos.append(frames.parse(next(heard)))
        yield WELCOME
        if len(hellos) == 2:
            yield frames.goodbye(pb.Goodbye.DONE, "")

    with RawParent(script) as parent:
        client = LinkClient(parent.address, "a", echo_app("a"), model="m", plan="p")
        assert Leaf(client, "a").join() is None
    body = pb.Hello(name="a", protocol=frames.PROTOCOL, model="m", plan="p")
    body.instance = hellos[0].hello.instance
    assert len(body.instance) == 16
    assert hellos[0] == pb.Frame(hello=body)
    body.run = "run-7"
    assert hellos[1] == pb.Frame(hello=body)
    assert client.context.node_id == 5
    assert client.context.node_config == {"name": "a"}


def test_done_returns() -> None:
    assert outcome(WELCOME, frames.goodbye(pb.Goodbye.DONE, "over"))[1] is None


GOODBYES: list[tuple[pb.Goodbye.Code, type[HierflError], str]] = [
    (pb.Goodbye.FAILED, ParentFailed, "the run has failed: because"),
    (pb.Goodbye.REFUSED, PeerRefused, "refused a: because"),
    (pb.Goodbye.UNSPECIFIED, PeerRefused, "refused a: because"),
]


@pytest.mark.parametrize("first", [[], [WELCOME]], ids=["at once", "after the welcome"])
@pytest.mark.parametrize(("code", "kind", "message"), GOODBYES)
def test_goodbyes(
    code: pb.Goodbye.Code, kind: type[HierflError], message: str, first: list[bytes]
) -> None:
    _, error = outcome(*first, frames.goodbye(code, "because"))
    assert type(error) is kind
    assert message in str(error)


REQUEST = flower_compat.message_to_bytes(say("x", 1))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (b"\xff\xff", "2 bytes that are no frame"),
        (b"", "a frame of no known kind"),
        (frames.hello("a", run="", model="", plan=""), "a frame of the kind hello"),
        (frames.progress(b""), "a frame of the kind progress"),
        (frames.step_request(pb.StepRequest(round=1, step=1)), "a frame of the kind step_request"),
        (frames.step_answer(pb.Ballot()), "a frame of the kind ballot"),
        (frames.message(b"\xff"), "not a Flower message"),
        (frames.message(REQUEST[:-1]), "not a Flower message"),
    ],
    ids=[  # no time in them
        "no frame", "no kind", "hello", "progress", "request", "ballot", "no message", "cut short",
    ],
)  # fmt: skip
def test_a_parent_that_breaks_the_protocol(frame: bytes, message: str) -> None:
    address, error = outcome(WELCOME, frame)
    assert type(error) is LinkError
    assert f"the parent at {address} sent" in str(error)
    assert message in str(error)


def test_a_frame_that_is_too_long_is_not_read_and_not_asked_for_again() -> None:
    _, error = outcome(WELCOME, frames.message(bytes(2000)), max_frame=1000)
    assert type(error) is LinkError
    assert "longer than the link allows" in str(error)


def test_a_reply_that_is_too_long_ends_the_child() -> None:
    with LinkGrid("127.0.0.1:0", ["a"]) as grid:
        leaf = Leaf(LinkClient(grid.open(max_frame=1000), "a", echo_app("a")), "a")
        grid.push_messages([say("1000", 1, "query.bulk")])
        error = leaf.join()
    assert type(error) is LinkError
    assert "longer than the link allows" in str(error)


def test_no_parent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    error = Leaf(LinkClient(address, "a", echo_app("a"), patience=0.05), "a").join()
    assert type(error) is LinkError
    assert f"a has no parent at {address}: " in str(error)
    assert "refused" in str(error)
    assert error.hint is not None


def test_a_parent_that_stays_busy() -> None:
    busy = frames.goodbye(pb.Goodbye.BUSY, "a is attached already")
    address, error = outcome(busy, patience=0.05)
    assert type(error) is LinkError
    assert str(error) == f"a has no parent at {address}: a is attached already"


class Clock:
    """A clock on which time passes only in naps and in sessions."""

    def __init__(self) -> None:
        self.now = 0.0
        self.naps: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(hierfl.link.client, "FIRST_PAUSE_S", 0.2)
    monkeypatch.setattr(hierfl.link.client, "time", clock)
    return clock


@pytest.mark.parametrize(("run", "longest"), [("", 1.0), ("run-7", 10.0)])
def test_pauses_grow_and_are_capped(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, run: str, longest: float
) -> None:
    """Before the first welcome parents are starting, so they are looked for more often."""
    monkeypatch.setattr(LinkClient, "_session", lambda self, loop: (False, "nobody is there"))
    monkeypatch.setattr(hierfl.link.client, "until_listening", lambda at, nap: clock.sleep(nap))
    client = LinkClient("127.0.0.1:9", "a", echo_app("a"), patience=100.0)
    client._run = run
    with pytest.raises(LinkError, match="nobody is there"):
        client.serve()
    most = [min(0.2 * 2**i, longest) for i in range(len(clock.naps))]
    assert all(m / 2 <= nap <= m for nap, m in zip(clock.naps, most, strict=True))
    assert 100.0 < clock.now <= 100.0 + longest


def test_a_parent_that_is_starting_is_found_as_soon_as_it_listens() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
        listening = threading.Timer(0.3, held.listen)
        listening.start()
        began = time.monotonic()
        hierfl.link.client.until_listening(address, LIMIT_S)
        assert 0.3 <= time.monotonic() - began < LIMIT_S
        listening.join()
    began = time.monotonic()
    hierfl.link.client.until_listening(address, 0.2)
    assert time.monotonic() - began >= 0.2


def test_a_welcome_renews_patience(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    welcomes = [True, False, True, True, False, False, False, False, False]

    def session(client: LinkClient, loop: LinkLoop) -> tuple[bool, str]:
        clock.now += 60.0
        return welcomes.pop(0), "it broke"

    monkeypatch.setattr(LinkClient, "_session", session)
    with pytest.raises(LinkError):
        LinkClient("127.0.0.1:9", "a", echo_app("a"), patience=100.0).serve()
    assert welcomes == [False] * 3
    assert clock.naps[2] <= 0.2  # and the pauses begin anew


def test_progress_reaches_the_parent() -> None:
    news: list[tuple[str, bytes]] = []
    with LinkGrid("127.0.0.1:0", ["a"], on_progress=lambda *item: news.append(item)) as grid:
        leaf = Leaf(LinkClient(grid.open(), "a", echo_app("a")), "a")
        assert not grid.wait_for_children(LIMIT_S)
        leaf.client.progress(b"step 1")
        leaf.client.progress(b"step 2")
        grid.send_and_receive([say("x", 1)])  # frames of one stream keep their order
        assert news == [("a", b"step 1"), ("a", b"step 2")]
        assert grid.ledger.counts["a"]["up"].frames == 1
        grid.close()
        assert leaf.join() is None


def test_progress_while_there_is_no_parent_is_lost() -> None:
    client = LinkClient("127.0.0.1:9", "a", echo_app("a"))
    client.progress(b"nobody hears this")
