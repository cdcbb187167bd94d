"""Steps: when one closes, who is waited for, what is a breach; by a clock that the test moves."""

from __future__ import annotations

import math
from typing import Any

import pytest

from hierfl.errors import PayloadError, RunFailed
from hierfl.link import link_pb2 as pb
from hierfl.link.membership import Membership
from hierfl.link.steps import GRACE, GRACE_S, Outcome, Request, StepExchange, StepRound
from hierfl.link.traffic import Ledger

TIMEOUT_S = 30.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Round:
    """A round that counts ballots and decides nothing."""

    def __init__(self, steps: int, voters: set[int]) -> None:
        self.steps, self.step = steps, 1
        self.left = set(voters)
        self.counted: list[set[int]] = [set()]

    def voters(self) -> set[int]:
        return set(self.left)

    def request(self, node_id: int) -> Request:
        return Request(1, self.step, f"step {self.step}".encode(), 0)

    def receive(self, node_id: int, answer: pb.Ballot | pb.OutOfSync) -> Outcome:
        if isinstance(answer, pb.OutOfSync):
            return Outcome.ASK_AGAIN if answer.round == 1 else Outcome.LACKS_BASE
        if answer.ballot == b"bad":
            raise PayloadError("bad")
        self.counted[-1].add(node_id)
        return Outcome.ANSWERED

    def lose(self, node_id: int, reason: str) -> None:
        self.left.discard(node_id)
        if not self.left:
            raise RunFailed(reason)

    def close(self) -> bool:
        self.step += 1
        self.counted.append(set())
        return self.step <= self.steps


class Wires:
    """A transport that notes what it is given.

    Attributes:
        sent: (node id, frame), in order.
        lacking: who lacks the base.
        over: what ended the rounds.
        detached: who cannot be sent anything.
    """

    def __init__(self, members: Membership) -> None:
        self.sent: list[tuple[int, bytes]] = []
        self.lacking: list[int] = []
        self.over: list[Exception | None] = []
        self.suspended: list[tuple[int, str]] = []
        self.detached: set[int] = set()
        self._members = members

    def is_attached(self, node_id: int) -> bool:
        return node_id not in self.detached

    def transmit(self, node_id: int, frame: bytes) -> None:
        self.sent.append((node_id, frame))

    def suspend(self, node_id: int, reason: str) -> None:
        self.suspended.append((node_id, reason))

    def lacks_base(self, round_: StepRound, node_id: int) -> None:
        self.lacking.append(node_id)

    def steps_over(self, round_: StepRound, error: Exception | None) -> None:
        self.over.append(error)


class Bench:
    """An exchange with some children, and what it does."""

    def __init__(self, children: int, quorum: float, max_missed: int = 3) -> None:
        names = [f"n{i}" for i in range(1, children + 1)]
        self.members = Membership(names, quorum, max_missed)
        self.wires, self.clock, self.ledger = Wires(self.members), Clock(), Ledger()
        self.exchange = StepExchange(self.wires, self.members, self.ledger, self.clock)

    def start(self, steps: int = 3) -> Round:
        round_ = Round(steps, set(self.members.names))
        self.exchange.start(round_, TIMEOUT_S)
        return round_

    def vote(self, node_id: int, step: int, **fields: Any) -> None:
        frame = pb.Frame(ballot=pb.Ballot(round=1, step=step, **fields))
        self.exchange.receive(node_id, frame, frame.ByteSize())

    def says(self, node_id: int, answer: pb.OutOfSync | pb.Failure) -> None:
        if isinstance(answer, pb.OutOfSync):
            frame = pb.Frame(out_of_sync=answer)
        else:
            frame = pb.Frame(failure=answer)
        self.exchange.receive(node_id, frame, frame.ByteSize())

    def wait(self, seconds: float) -> None:
        """Let time pass, and the deadlines in it come."""
        end = self.clock.now + seconds
        while self.exchange.deadline <= end:
            self.clock.now = max(self.clock.now, self.exchange.deadline)
            self.exchange.elapse()
        self.clock.now = end


@pytest.fixture
def full() -> Bench:
    return Bench(3, 1.0)


@pytest.fixture
def some() -> Bench:
    return Bench(3, 0.6)


def test_all_are_asked_and_the_step_closes_with_the_last_answer(full: Bench) -> None:
    round_ = full.start(steps=2)
    for step in (1, 2):
        assert sorted(full.wires.sent[-3:]) == [(n, f"step {step}".encode()) for n in (1, 2, 3)]
        for node_id in (3, 1, 2):
            assert round_.step == step
            full.vote(node_id, step)
    assert full.wires.over == [None] and full.exchange.deadline == math.inf
    assert round_.counted[:2] == [{1, 2, 3}] * 2
    assert full.ledger.total("down").frames == full.ledger.total("up").frames == 6


def test_where_all_are_needed_a_step_waits_as_long_as_it_takes(full: Bench) -> None:
    round_ = full.start()
    full.vote(1, 1)
    full.vote(2, 1)
    full.wait(100 * TIMEOUT_S)
    assert round_.step == 1 and not full.members.away
    full.vote(3, 1)
    assert round_.step == 2


def test_beyond_the_quorum_a_step_waits_for_a_grace_of_the_cluster_s_own_pace(some: Bench) -> None:
    round_ = some.start()
    some.wait(0.1)
    some.vote(1, 1)
    some.vote(2, 1)
    patience = GRACE_S + GRACE * 0.1
    some.wait(patience - 0.1 - 1e-3)
    assert round_.step == 1
    some.wait(2e-3)
    assert round_.step == 2 and round_.counted[0] == {1, 2}


def test_the_grace_is_never_longer_than_the_timeout(some: Bench) -> None:
    round_ = some.start()
    some.wait(TIMEOUT_S)
    some.vote(1, 1)
    some.vote(2, 1)
    some.wait(1e-3)
    assert round_.step == 2


def test_who_always_answers_too_late_is_soon_away_and_delays_nobody(some: Bench) -> None:
    """Two answer after a millisecond, the third 0.1 s after each request: five graces too late."""
    round_, waited = some.start(steps=400), []
    due, asked = some.clock.now + 0.1, 1
    while round_.step < 400:
        step, began = round_.step, some.clock.now
        some.wait(1e-3)
        some.vote(1, step)
        some.vote(2, step)
        while round_.step == step:
            some.wait(1e-3)
        waited.append(some.clock.now - began)
        if some.clock.now >= due:
            some.vote(3, asked)
            due, asked = some.clock.now + 0.1, round_.step  # it was asked again at once
    assert some.members.away == {"n3"} and not some.wires.suspended
    assert some.members.faults.total().late >= 3
    slow = [seconds for seconds in waited if seconds > 2e-3]
    assert len(slow) == 3 and max(slow) < 2 * GRACE_S


def test_who_answers_in_time_of_its_own_request_is_back(some: Bench) -> None:
    round_ = some.start(steps=40)
    while "n3" not in some.members.away:
        some.vote(1, round_.step)
        some.vote(2, round_.step)
        some.wait(GRACE_S + 1e-3)
    some.vote(3, 1)  # late: it was asked long ago
    assert some.members.away == {"n3"}
    step = round_.step  # and is asked at once for the open step
    assert some.wires.sent[-1] == (3, f"step {step}".encode())
    some.vote(1, step)
    some.vote(2, step)
    assert round_.step == step + 1  # nobody waited for it
    some.vote(3, step)  # others were quicker, but it was in time
    assert not some.members.away


def test_answers_that_nobody_asked_for_are_breaches(full: Bench) -> None:
    full.start()
    full.vote(1, 1)
    full.vote(1, 1)
    full.vote(2, 2)
    full.vote(3, 1, ballot=b"bad")
    assert full.wires.suspended == [
        (1, "it answered a step that it was not asked for"),
        (2, "it answered step 1.1 with one on 1.2"),
        (3, "it sent bad"),
    ]


def test_who_lacks_decisions_is_asked_again_and_who_lacks_the_base_once_it_has_it(
    full: Bench,
) -> None:
    round_ = full.start()
    full.says(1, pb.OutOfSync(round=1))
    assert full.wires.sent[3:] == [(1, b"step 1")]
    full.says(2, pb.OutOfSync(round=7))
    assert full.wires.lacking == [2] and len(full.wires.sent) == 4
    full.exchange.has_base(2)
    assert full.wires.sent[4:] == [(2, b"step 1")]
    for node_id in (1, 2, 3):
        full.vote(node_id, 1)
    assert round_.step == 2


def test_who_comes_back_is_asked_for_the_open_step(full: Bench) -> None:
    full.wires.detached = {2}
    full.start()
    assert {node_id for node_id, _ in full.wires.sent} == {1, 3}
    full.wires.detached = set()
    full.exchange.attached(2)
    assert full.wires.sent[-1] == (2, b"step 1")
    full.exchange.detached(2)
    full.exchange.attached(2)
    assert full.wires.sent[-1] == (2, b"step 1") and len(full.wires.sent) == 4


def test_a_failure_costs_the_round_a_child_or_the_run_its_quorum(full: Bench) -> None:
    round_ = full.start()
    for node_id in (1, 2):
        full.says(node_id, pb.Failure(reason="battery"))
    assert round_.left == {3} and full.wires.over == []
    full.says(3, pb.Failure(reason="battery"))
    (error,) = full.wires.over
    assert isinstance(error, RunFailed) and "battery" in str(error)


def test_a_late_answer_between_two_rounds_is_counted(some: Bench) -> None:
    some.start(steps=1)
    some.vote(1, 1)
    some.vote(2, 1)
    some.wait(GRACE_S + 1e-3)
    assert some.wires.over == [None]
    some.vote(3, 1)
    assert some.members.faults.total().late == 1 and not some.wires.suspended
