"""What holds of a round's steps on every transport: contents, quorum, breaches, catching up."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from hierfl.errors import PayloadError, RunFailed
from hierfl.link import frames
from hierfl.link import link_pb2 as pb
from hierfl.link.responder import Vote
from hierfl.link.steps import Outcome, Request
from tests.link.conftest import Grow
from tests.link.trees import LIMIT_S, MakeVote, Tree, say, text

ROUND = 4
"""The round that is taken."""


class Poll:
    """A round that decides what it was told, and notes it.

    Attributes:
        step: the open step, from 1.
        ballots: of each step, by node id.
        lost: the children that were lost, and why.
        closing: called with the step that is about to be closed.
    """

    def __init__(self, steps: int, children: int) -> None:
        self.step = 1
        self.ballots: list[dict[int, bytes]] = [{} for _ in range(steps + 1)]
        self.lost: dict[int, str] = {}
        self.closing: Callable[[int], None] = lambda step: None
        self._steps = steps
        self._applied = dict.fromkeys(range(1, children + 1), 0)
        self._decisions: list[bytes] = []

    def voters(self) -> set[int]:
        return set(self._applied) - set(self.lost)

    def request(self, node_id: int) -> Request:
        after = self._applied[node_id]
        request = pb.StepRequest(
            round=ROUND, step=self.step, after=after, decisions=self._decisions[after:]
        )
        payload = frames.step_payload(request)
        return Request(ROUND, self.step, frames.step_request(request), payload)

    def receive(self, node_id: int, answer: pb.Ballot | pb.OutOfSync) -> Outcome:
        if isinstance(answer, pb.OutOfSync):
            self._applied[node_id] = answer.applied
            return Outcome.ASK_AGAIN if answer.round == ROUND else Outcome.LACKS_BASE
        if answer.ballot.startswith(b"bad"):
            raise PayloadError("a bad ballot")
        self.ballots[self.step][node_id] = answer.ballot
        self._applied[node_id] = self.step - 1
        return Outcome.ANSWERED

    def lose(self, node_id: int, reason: str) -> None:
        self.lost[node_id] = reason
        if not self.voters():
            raise RunFailed(reason)

    def close(self) -> bool:
        self.closing(self.step)
        self._decisions.append(b"decision %d" % self.step)
        self.step += 1
        return self.step <= self._steps


def loyal(name: str) -> Vote:
    """Return a vote that names the child and the decisions that it has applied, in order."""
    log: list[bytes] = []

    def vote(request: pb.StepRequest) -> pb.Ballot:
        log[request.after :] = request.decisions
        said = name.encode() + b" after " + b", ".join(log)
        return pb.Ballot(round=request.round, step=request.step, ballot=said)

    return vote


def b_does(answer: Callable[[pb.StepRequest], pb.Ballot | pb.OutOfSync | None]) -> MakeVote:
    """Return what makes votes; b's is `answer`, or loyal like the others' where that is None."""

    def make(name: str) -> Vote:
        usual = loyal(name)
        return usual if name != "b" else lambda request: answer(request) or usual(request)

    return make


def take(tree: Tree, poll: Poll, timeout: float = LIMIT_S) -> None:
    """Take a round's steps; whoever lacks the base is sent it."""
    with tree.grid.steps(poll, timeout) as steps:
        for event in steps:
            if isinstance(event, int):
                steps.ask([say("base", event)])
            else:
                assert text(event) == "b heard base"
                tree.grid.has_base(event.metadata.src_node_id)


def said(names: str, step: int) -> dict[int, bytes]:
    """Return what the children of these names say in a step when nothing goes wrong."""
    decisions = b", ".join(b"decision %d" % i for i in range(1, step))
    return {" abc".index(name): name.encode() + b" after " + decisions for name in names}


def asked(step: int, after: int) -> pb.StepRequest:
    """Return the request of a step for a child that has applied so many decisions."""
    decisions = [b"decision %d" % i for i in range(after + 1, step)]
    return pb.StepRequest(round=ROUND, step=step, after=after, decisions=decisions)


def test_all_vote_on_every_step_along_the_decisions(grow: Grow) -> None:
    tree, poll = grow(quorum=1.0, make_vote=loyal), Poll(3, 3)
    take(tree, poll)
    assert poll.ballots[1:] == [said("abc", step) for step in (1, 2, 3)]
    assert tree.steps == {name: [asked(1, 0), asked(2, 0), asked(3, 1)] for name in "abc"}
    traffic = tree.grid.ledger.traffic()
    assert (traffic.down.frames, traffic.up.frames) == (9, 9)
    assert traffic.down.payload == 3 * len("decision 1decision 2")
    assert traffic.up.payload == sum(map(len, (b for s in poll.ballots for b in s.values())))
    for name, child in tree.children.items():
        assert tree.grid.ledger.counts[name]["up"] == child.sent
    assert tree.grid.faults().late == tree.grid.faults().rejected == 0


def test_one_round_after_the_other(grow: Grow) -> None:
    tree = grow(quorum=1.0, make_vote=loyal)
    for _ in range(3):
        poll = Poll(2, 3)
        take(tree, poll)
        assert poll.ballots[1:] == [said("abc", 1), said("abc", 2)]
        assert [text(r) for r in tree.grid.send_and_receive([say("x", 2)])] == ["b heard x"]


def test_a_slow_child_is_not_waited_for_and_catches_up(grow: Grow) -> None:
    """It is there again before step 3, which all must answer: its answer to step 1 is late."""
    tree, poll = grow(quorum=0.6, make_vote=loyal), Poll(4, 3)
    tree.hold("b")

    def closing(step: int) -> None:
        if step == 2:
            tree.grid.members.quorum = 3
            tree.release("b")

    poll.closing = closing
    take(tree, poll, timeout=0.05)
    assert poll.ballots[1:] == [said("ac", 1), said("ac", 2), said("abc", 3), said("abc", 4)]
    assert tree.steps["b"] == [asked(1, 0), asked(3, 0), asked(4, 2)]
    assert tree.grid.faults().late == 1


def test_where_all_are_needed_a_slow_child_is_waited_for(grow: Grow) -> None:
    tree, poll = grow(quorum=1.0, make_vote=loyal), Poll(2, 3)
    tree.hold("b")
    later = threading.Timer(0.2, tree.release, ["b"])
    later.start()
    take(tree, poll, timeout=0.05)
    later.join()
    assert poll.ballots[1:] == [said("abc", 1), said("abc", 2)]
    assert tree.grid.faults().late == 0


def test_a_breach_costs_a_new_hello_and_the_child_is_asked_again(grow: Grow) -> None:
    once = [b"bad"]

    def bad(request: pb.StepRequest) -> pb.Ballot | None:
        if request.step == 2 and once:
            return pb.Ballot(round=ROUND, step=2, ballot=once.pop())
        return None

    tree, poll = grow(quorum=1.0, make_vote=b_does(bad)), Poll(3, 3)
    take(tree, poll)
    assert poll.ballots[1:] == [said("abc", step) for step in (1, 2, 3)]
    assert tree.steps["b"] == [asked(1, 0), asked(2, 0), asked(2, 0), asked(3, 1)]
    assert tree.grid.faults().rejected == 1 and not tree.grid.members.banned


@pytest.mark.parametrize("wrong", [{"step": 3}, {"round": ROUND + 1}, {"ballot": b"bad"}])
def test_who_breaks_the_protocol_again_and_again_is_sent_away(
    grow: Grow, wrong: dict[str, object]
) -> None:
    def bad(request: pb.StepRequest) -> pb.Ballot | None:
        answer = pb.Ballot(round=ROUND, step=2, ballot=b"x")
        for field, value in wrong.items():
            setattr(answer, field, value)
        return answer if request.step == 2 else None

    tree, poll = grow(quorum=0.6, make_vote=b_does(bad)), Poll(3, 3)
    tree.grid.members.quorum = 3  # as long as b is there, it is waited for
    take(tree, poll)
    assert poll.ballots[1:] == [said("abc", 1), said("ac", 2), said("ac", 3)]
    assert set(poll.lost) == {2} and set(tree.grid.members.banned) == {"b"}
    assert tree.grid.faults().rejected == 3
    tree.leaves_for_good("b")


def test_a_child_that_fails_is_lost_to_the_round_alone(grow: Grow) -> None:
    def boom(request: pb.StepRequest) -> None:
        if request.step == 2:
            raise RuntimeError("boom")

    tree, poll = grow(quorum=1.0, make_vote=b_does(boom)), Poll(3, 3)
    take(tree, poll)
    assert poll.ballots[1:] == [said("abc", 1), said("ac", 2), said("ac", 3)]
    assert "RuntimeError: boom" in poll.lost[2]
    assert not tree.grid.members.banned
    once_more = Poll(1, 3)
    take(tree, once_more)
    assert once_more.ballots[1] == said("abc", 1)


def test_a_child_that_lacks_decisions_is_sent_all_it_lacks(grow: Grow) -> None:
    once = [0]

    def forgets(request: pb.StepRequest) -> pb.OutOfSync | None:
        return pb.OutOfSync(round=ROUND, applied=once.pop()) if request.step == 3 and once else None

    tree, poll = grow(quorum=1.0, make_vote=b_does(forgets)), Poll(3, 3)
    take(tree, poll)
    assert poll.ballots[1:] == [said("abc", step) for step in (1, 2, 3)]
    assert tree.steps["b"] == [asked(1, 0), asked(2, 0), asked(3, 1), asked(3, 0)]


def test_a_child_that_lacks_the_base_is_brought_there_and_votes(grow: Grow) -> None:
    once = [0]

    def lost_all(request: pb.StepRequest) -> pb.OutOfSync | None:
        return pb.OutOfSync(round=once.pop()) if request.step == 2 and once else None

    tree, poll = grow(quorum=1.0, make_vote=b_does(lost_all)), Poll(3, 3)
    take(tree, poll)
    assert poll.ballots[1:] == [said("abc", step) for step in (1, 2, 3)]
    assert tree.steps["b"] == [asked(1, 0), asked(2, 0), asked(2, 0), asked(3, 1)]
    assert tree.ran == {"a": [], "b": ["query.echo"], "c": []}


def test_what_ends_a_round_before_its_time_is_raised_and_the_next_round_goes_on(
    grow: Grow,
) -> None:
    def disk_full(step: int) -> None:
        raise OSError("no space left")

    tree, poll = grow(quorum=1.0, make_vote=loyal), Poll(3, 3)
    poll.closing = disk_full
    with pytest.raises(OSError, match="no space left"):
        take(tree, poll)
    once_more = Poll(2, 3)
    take(tree, once_more)
    assert once_more.ballots[1:] == [said("abc", 1), said("abc", 2)]


def test_who_waits_for_steps_hears_that_the_run_cannot_go_on(grow: Grow) -> None:
    tree, poll = grow(quorum=1.0, make_vote=loyal), Poll(2, 3)
    tree.hold("b")
    later = threading.Timer(0.1, tree.grid.abort, ["the parent has gone"])
    later.start()
    with pytest.raises(RunFailed, match="the parent has gone"):
        take(tree, poll)
    later.join()
    tree.release("b")
