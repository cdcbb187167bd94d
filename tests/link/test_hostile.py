"""A child that was let in and then breaks the protocol is sent away; the others go on.

Twice it may say hello anew, and is asked again; the third time it is sent away for good.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import grpc
import pytest
from flwr.app import Message

from hierfl.link import flower_compat, frames
from hierfl.link import link_pb2 as pb
from hierfl.link.client import LinkClient
from hierfl.link.link_grid import LinkGrid
from hierfl.link.log_throttle import EACH
from tests.link.raw import RawChild, hello
from tests.link.trees import Leaf, echo_app, say, text
from tests.unit.mutation import Mutator

MAX_FRAME = 50_000


@dataclass
class Cluster:
    """Two honest children, and places for two others.

    Attributes:
        progress: what the honest and the other children have told.
    """

    grid: LinkGrid
    address: str
    progress: list[tuple[str, bytes]]

    def attach(self, name: str = "mallory") -> RawChild:
        """Attach a child that sends whatever it is told to: mallory, number 3, or victim, 4."""
        child = RawChild(self.address, hello(name))
        assert child.welcomed().node_id == {"mallory": 3, "victim": 4}[name]
        return child

    def has_left(self, node_id: int) -> None:
        """Go on until a child is detached."""
        while node_id in self.grid.get_node_ids():
            self.go_on()

    def go_on(self) -> None:
        """See that the honest children still answer."""
        replies = self.grid.send_and_receive([say("x", n) for n in (1, 2)])
        assert [text(reply) for reply in replies] == ["a heard x", "b heard x"]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    progress: list[tuple[str, bytes]] = []

    def show(name: str, what: bytes) -> None:
        progress.append((name, what))
        if what == b"no JSON":
            raise ValueError("no JSON")

    names = ["a", "b", "mallory", "victim"]
    with ExitStack() as leaves, LinkGrid("127.0.0.1:0", names, on_progress=show) as grid:
        address = grid.open(max_frame=MAX_FRAME)
        for name in ("a", "b"):
            leaf = Leaf(LinkClient(address, name, echo_app(name)), name)
            leaves.callback(leaf.join)
        while grid.missing() != ["mallory", "victim"]:
            grid.wait_for_children(0.01)
        yield Cluster(grid, address, progress)


def asked(child: RawChild) -> Message:
    """Return the child's next request."""
    frame = child.read()
    assert frame.WhichOneof("kind") == "message"
    return flower_compat.message_from_bytes(frame.message)


def answer(request: Message, said: str = "x") -> Message:
    return Message(say(said, 1).content, reply_to=request)


def frame_of(message: Message) -> bytes:
    return frames.message(flower_compat.message_to_bytes(message))


def reply_to(message_id: str, request: Message) -> Message:
    """Return a reply that says it answers another request."""
    reply = answer(request)
    reply.metadata.__dict__["_reply_to_message_id"] = message_id
    return reply


BREACHES = {
    "garbage": (b"\xff" * 20, "20 bytes that are no frame"),
    "empty": (b"", "a frame of no known kind, 0 bytes"),
    "unknown kind": (b"\x7a\x03abc", "a frame of no known kind, 5 bytes"),
    "cut": (frames.message(b"x" * 50)[:30], "30 bytes that are no frame"),
    "hello again": (hello("mallory"), "of the kind hello"),
    "welcome": (
        frames.welcome(run="r", node_id=3, model="", max_frame=1),
        "of the kind welcome",
    ),
    "goodbye": (frames.goodbye(pb.Goodbye.DONE, ""), "of the kind goodbye"),
    "no Flower message": (frames.message(b"\xff\xff"), "not a Flower message"),
    "empty Flower message": (frames.message(b""), "not a Flower message"),
    "a step's request": (
        frames.step_request(pb.StepRequest(round=1, step=1)),
        "of the kind step_request",
    ),
    "a ballot": (
        frames.step_answer(pb.Ballot(round=1, step=1)),
        "it answered a step that it was not asked for",
    ),
    "out of sync": (frames.step_answer(pb.OutOfSync()), "that it was not asked for"),
    "a failure": (frames.step_answer(pb.Failure(reason="x")), "that it was not asked for"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_who_breaks_the_protocol_is_sent_away(cluster: Cluster, breach: str) -> None:
    data, reason = BREACHES[breach]
    replies = cluster.grid.stream([say("x", n) for n in (1, 2, 3)])
    by_node = {reply.metadata.src_node_id: reply for reply in (next(replies), next(replies))}
    assert [text(by_node[n]) for n in (1, 2)] == ["a heard x", "b heard x"]
    message_ids = set()
    for code in (pb.Goodbye.BREACH, pb.Goodbye.BREACH, pb.Goodbye.REFUSED):
        with cluster.attach() as mallory:
            message_ids.add(asked(mallory).metadata.message_id)
            mallory.send(data)
            if code == pb.Goodbye.REFUSED:
                (error,) = replies
            else:
                while cluster.grid.take_one(time.monotonic() + 0.2):
                    pass
            goodbye = mallory.dismissed()
        assert goodbye.code == code and reason in goodbye.reason
    assert len(message_ids) == 1  # the same request, again and again
    assert error.metadata.src_node_id == 3 and error.has_error()
    assert f"mallory was sent away: {goodbye.reason}" in str(error.error.reason)
    assert cluster.grid.faults().rejected == 3
    assert sorted(cluster.grid.get_node_ids()) == [1, 2]
    assert cluster.grid.ledger.counts["mallory"]["up"].frames == 0
    with RawChild(cluster.address, hello("mallory")) as again:
        assert again.dismissed() == goodbye
    cluster.go_on()


def test_many_breaches_on_one_stream_are_one(cluster: Cluster) -> None:
    with cluster.attach() as mallory:
        for _ in range(50):
            mallory.send(frames.step_answer(pb.Ballot(round=1, step=1)))
        assert mallory.dismissed().code == pb.Goodbye.BREACH
    assert cluster.grid.faults().rejected == 1
    cluster.go_on()


def test_no_first_frame_disturbs_the_others(cluster: Cluster) -> None:
    mutator, refused = Mutator(7), 0
    for _ in range(150):
        with RawChild(cluster.address, mutator.bytes([hello("mallory"), hello("a")])) as child:
            frame = child.read()
            if frame.WhichOneof("kind") == "goodbye":
                refused += frame.goodbye.code == pb.Goodbye.REFUSED
            else:
                assert frame.welcome.node_id == 3
        cluster.has_left(3)
    cluster.go_on()
    assert cluster.grid.faults().rejected == refused > 50


def found_out(cluster: Cluster) -> None:
    """Wait until the grid, which goes on, has sent somebody away."""
    while not cluster.grid.faults().rejected:
        cluster.go_on()


def test_who_breaks_the_protocol_unasked_is_sent_away(cluster: Cluster) -> None:
    with cluster.attach() as mallory:
        mallory.send(b"\xff")
        found_out(cluster)
        assert "no frame" in mallory.dismissed().reason


def test_a_reply_to_no_request(cluster: Cluster) -> None:
    with cluster.attach() as mallory:
        mallory.send(frame_of(answer(say("never asked", 3))))
        found_out(cluster)
        assert mallory.dismissed().reason == "it sent a reply to no request"


def test_a_second_reply_to_the_same_request(cluster: Cluster) -> None:
    with cluster.attach() as mallory:
        replies = cluster.grid.stream([say("x", 1), say("x", 3)])
        assert text(next(replies)) == "a heard x"
        reply = frame_of(answer(asked(mallory)))
        mallory.send(reply)
        assert [text(r) for r in replies] == ["x"]
        mallory.send(reply)
        found_out(cluster)
        assert mallory.dismissed().reason == "it sent a reply to no request"
    count = cluster.grid.ledger.counts["mallory"]["up"]
    assert (count.frames, count.messages) == (1, len(reply))


def found_out_and_asked_again(cluster: Cluster, mallory: RawChild, reason: str) -> None:
    """See that mallory was sent away, and that it is asked the same once it says hello anew."""
    found_out(cluster)
    goodbye = mallory.dismissed()
    assert (goodbye.code, goodbye.reason) == (pb.Goodbye.BREACH, reason)


def test_a_reply_to_an_unknown_request(cluster: Cluster) -> None:
    replies = cluster.grid.stream([say("x", 3)])
    with cluster.attach() as mallory:
        request = asked(mallory)
        mallory.send(frame_of(reply_to("unheard of", request)))
        found_out_and_asked_again(cluster, mallory, "it answered a request that it was not sent")
    with cluster.attach() as mallory:
        again = asked(mallory)
        assert again.metadata == request.metadata
        mallory.send(frame_of(answer(again, "sorry")))
        assert [text(reply) for reply in replies] == ["sorry"]
    assert (cluster.grid.faults().late, cluster.grid.faults().rejected) == (0, 1)
    cluster.go_on()


def test_a_reply_to_another_child_s_request(cluster: Cluster) -> None:
    with cluster.attach("victim") as victim:
        replies = cluster.grid.stream([say("x", n) for n in (3, 4)])
        wanted = asked(victim)
        with cluster.attach() as mallory:
            mallory.send(frame_of(reply_to(wanted.metadata.message_id, asked(mallory))))
            found_out_and_asked_again(cluster, mallory, "it answered a request to victim")
        victim.send(frame_of(answer(wanted, "from the victim")))
        assert text(next(replies)) == "from the victim"
        with cluster.attach() as mallory:
            mallory.send(frame_of(answer(asked(mallory), "its own")))
            assert [text(reply) for reply in replies] == ["its own"]
    assert cluster.grid.faults().rejected == 1


def test_a_reply_in_the_name_of_another(cluster: Cluster) -> None:
    replies = cluster.grid.stream([say("x", 3)])
    with cluster.attach() as mallory:
        forged = answer(asked(mallory))
        forged.metadata.__dict__["_src_node_id"] = 1
        mallory.send(frame_of(forged))
        found_out_and_asked_again(cluster, mallory, "it answered in the name of another node")
    with cluster.attach() as mallory:
        mallory.send(frame_of(answer(asked(mallory), "its own")))
        assert [text(reply) for reply in replies] == ["its own"]
    cluster.go_on()


def test_a_frame_that_is_too_long_is_not_read(cluster: Cluster) -> None:
    with cluster.attach() as mallory:
        replies = cluster.grid.stream([say("x", n) for n in (1, 2, 3)])
        first = {text(next(replies)), text(next(replies))}
        assert first == {"a heard x", "b heard x"}
        request = asked(mallory)
        mallory.send(frame_of(answer(request, "x" * MAX_FRAME)))
        with pytest.raises(grpc.RpcError) as caught:
            mallory.read()
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    cluster.go_on()
    cluster.has_left(3)
    with cluster.attach() as mallory:
        again = asked(mallory)
        assert again.metadata.message_id == request.metadata.message_id
        mallory.send(frame_of(answer(again, "short")))
        assert [text(reply) for reply in replies] == ["short"]


def test_the_longest_frame_is_read(cluster: Cluster) -> None:
    with cluster.attach() as mallory:
        replies = cluster.grid.stream([say("x", n) for n in (1, 3)])
        next(replies)
        request = asked(mallory)
        room = MAX_FRAME - len(frame_of(answer(request, "x" * (MAX_FRAME - 1000)))) + MAX_FRAME
        longest = frame_of(answer(request, "x" * (room - 1000)))
        assert len(longest) == MAX_FRAME
        mallory.send(longest)
        assert len(text(next(replies))) == room - 1000
        mallory.send(frames.progress(b"x" * (MAX_FRAME - 3)))
        with pytest.raises(grpc.RpcError):
            mallory.read()


def test_progress_that_cannot_be_shown_stops_nothing(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    with cluster.attach() as mallory:
        replies = cluster.grid.stream([say("x", n) for n in (1, 3)])
        next(replies)
        for progress in (b"good", b"no JSON", b""):
            mallory.send(frames.progress(progress))
        mallory.send(frame_of(answer(asked(mallory))))
        assert [text(reply) for reply in replies] == ["x"]
    assert cluster.progress == [("mallory", b"good"), ("mallory", b"no JSON"), ("mallory", b"")]
    assert "the progress of mallory could not be shown" in caplog.text
    assert cluster.grid.faults().rejected == 0


def test_a_peer_that_vanishes_is_asked_again_when_it_is_back(cluster: Cluster) -> None:
    with cluster.attach() as mallory:
        replies = cluster.grid.stream([say("x", n) for n in (1, 3)])
        assert text(next(replies)) == "a heard x"
        request = asked(mallory)
    cluster.has_left(3)
    with cluster.attach() as mallory:
        again = asked(mallory)
        assert again.metadata == request.metadata
        mallory.send(frame_of(answer(again)))
        assert [text(reply) for reply in replies] == ["x"]
    assert (
        cluster.grid.faults().reconnects,
        cluster.grid.faults().rejected,
        cluster.grid.faults().late,
    ) == (1, 0, 0)
    counts = cluster.grid.ledger.counts["mallory"]
    assert (counts["down"].frames, counts["up"].frames) == (1, 1)


def test_a_child_that_comes_and_goes_without_end_does_not_fill_the_log(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "hierfl.link.grpc_server"):
        for _ in range(3 * EACH):
            cluster.attach().close()
            cluster.has_left(3)
    lines = [line for line in caplog.messages if line.startswith("mallory is ")]
    assert len(lines) == EACH
    assert any("detached" in line for line in lines)
