"""Step after step: a parent asks its children for a vote each, and closes the step at the quorum.

Nothing here sends, receives, waits or knows what a vote is: a transport tells what has come and
sends what it is given, and a `StepRound` makes the requests and counts the ballots. So the same
rules hold on every transport, and may be tried without one.

One request at a time is under way to each child. A child that is still busy with an earlier step
when the next one opens is asked once it has answered; its late answer is counted and dropped.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol

from hierfl.errors import PayloadError
from hierfl.link import frames
from hierfl.link import link_pb2 as pb
from hierfl.link.membership import Membership
from hierfl.link.traffic import Ledger

log = logging.getLogger(__name__)

REMINDER_S = 1.0
"""Seconds, at least, between two lines in the log about whom a step waits for."""

GRACE_S, GRACE = 0.02, 3.0
"""Where the quorum is less than all: a step waits for the others until it has lasted so many
seconds, and so many times as long as the quorum usually takes."""

ANSWERS = ("ballot", "out_of_sync", "failure")
"""The kinds of frames that answer a `StepRequest`."""


class Request(NamedTuple):
    """What asks one child for its vote.

    Attributes:
        round: the round.
        step: the step.
        frame: the bytes to send; children that are asked the same share them.
        payload: how many of them are payload.
    """

    round: int
    step: int
    frame: bytes
    payload: int


class Outcome(Enum):
    """What an answer means to the open step."""

    ANSWERED = "the child has answered"
    ASK_AGAIN = "it lacks decisions, which its next request holds"
    LACKS_BASE = "it lacks the round's base, which the caller must send"


class StepRound(Protocol):
    """One round of votes. All is called by one thread, in the event loop where there is one.

    No call may block. `PayloadError` means that the child broke the protocol; any other exception
    ends the round.
    """

    def voters(self) -> Iterable[int]:
        """Return the node ids of the children that vote on the open step."""

    def request(self, node_id: int) -> Request:
        """Return the request of the open step for one child."""

    def receive(self, node_id: int, answer: pb.Ballot | pb.OutOfSync) -> Outcome:
        """Take a child's answer to the open step's request."""

    def lose(self, node_id: int, reason: str) -> None:
        """Go on without a child that has failed or was sent away for good."""

    def close(self) -> bool:
        """Decide the open step and open the next one; return whether there is one."""


class Transport(Protocol):
    """What carries requests and answers."""

    def is_attached(self, node_id: int) -> bool:
        """Return whether a child can be sent anything now."""

    def transmit(self, node_id: int, frame: bytes) -> None:
        """Send a frame to a child that is attached."""

    def suspend(self, node_id: int, reason: str) -> object:
        """A child broke the protocol."""

    def lacks_base(self, round_: StepRound, node_id: int) -> None:
        """Tell who waits for the round's end that a child lacks the base."""

    def steps_over(self, round_: StepRound, error: Exception | None) -> None:
        """Tell who waits for the round's end that it has come, or what went wrong."""


@dataclass
class Pace:
    """How long a cluster's quorum usually takes: a moving average, in seconds."""

    usual: float = 0.0
    known: bool = False

    def note(self, seconds: float) -> None:
        """Take note of one step's time until its quorum."""
        self.usual = self.usual + (seconds - self.usual) / 8 if self.known else seconds
        self.known = True

    def patience(self, limit: float) -> float:
        """Return for how many seconds a step waits for those beyond the quorum."""
        return min(limit, GRACE_S + GRACE * self.usual)


class _Asked(NamedTuple):
    """A request under way: which of all steps it belongs to, and when it was sent."""

    serial: int
    round: int
    step: int
    at: float


@dataclass
class _Run:
    """A round under way, and its open step.

    Attributes:
        serial: the open step's number among all steps of the process.
        began: when the step was opened.
        waiting: who has not answered the step.
        expected: those of them that are waited for beyond the quorum.
        answered: how many have answered.
        enough: whether they are a quorum.
        remind: when the log is to say whom the step waits for.
        lacking: who lacks the base, and is not asked until it has it.
    """

    round: StepRound
    timeout: float
    serial: int = 0
    began: float = 0.0
    waiting: set[int] = field(default_factory=set)
    expected: set[int] = field(default_factory=set)
    answered: int = 0
    enough: bool = False
    remind: float = math.inf
    lacking: set[int] = field(default_factory=set)


class StepExchange:
    """Drives one `StepRound` after the other for one parent.

    To be used by one thread: the event loop's, or where there is none the caller's.

    Args:
        transport: carries frames.
        members: the children.
        ledger: counts what is sent and received.
        clock: tells the time in seconds.

    Attributes:
        deadline: when `elapse` is to be called next, by the clock.
    """

    def __init__(
        self,
        transport: Transport,
        members: Membership,
        ledger: Ledger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.deadline = math.inf
        self._transport = transport
        self._members = members
        self._ledger = ledger
        self._clock = clock
        self._pace = Pace()
        self._serial = 0
        self._under_way: dict[int, _Asked] = {}
        self._run: _Run | None = None

    # -- what happens ----------------------------------------------------------------------------

    def start(self, round_: StepRound, timeout: float) -> None:
        """Take a round's steps.

        Args:
            round_: the round.
            timeout: seconds: the longest that a step waits for the rest of its quorum, and the
                shortest between two lines in the log about whom it waits for.
        """
        self._run = _Run(round_, timeout)
        self._guarded(self._open, self._run)

    def stop(self) -> None:
        """Leave the round where it is."""
        self._run = None
        self.deadline = math.inf

    def receive(self, node_id: int, frame: pb.Frame, size: int) -> None:
        """Take an answer to a step's request, of `size` bytes."""
        asked = self._under_way.pop(node_id, None)
        kind = frame.WhichOneof("kind")
        body = frame.ballot if kind == "ballot" else getattr(frame, kind or "")
        if asked is None:
            self._transport.suspend(node_id, "it answered a step that it was not asked for")
        elif kind == "ballot" and (body.round != asked.round or body.step != asked.step):
            reason = f"it answered step {asked.round}.{asked.step} with one on "
            self._transport.suspend(node_id, f"{reason}{body.round}.{body.step}")
        else:
            name = self._members.names[node_id]
            self._ledger.add(name, "up", payload=frames.step_payload(body), message=size)
            self._guarded(self._take, node_id, asked, body)

    def attached(self, node_id: int) -> None:
        """A child is attached."""
        self._guarded(self._ask, node_id)

    def detached(self, node_id: int) -> None:
        """A child is attached no more: what was under way to it is lost."""
        self._under_way.pop(node_id, None)

    def has_base(self, node_id: int) -> None:
        """A child that lacked the base holds it now."""
        if self._run is not None:
            self._run.lacking.discard(node_id)
            self._guarded(self._ask, node_id)

    def lose(self, node_id: int, reason: str) -> None:
        """A child has failed, or was sent away for good."""
        self._under_way.pop(node_id, None)
        self._guarded(self._lose, node_id, reason)

    def elapse(self) -> None:
        """The deadline has come."""
        run = self._run
        if run is not None and not run.enough and self._clock() >= run.remind:
            names = sorted(self._members.names[node_id] for node_id in run.waiting)
            log.warning("still waiting for %s", ", ".join(names))
            run.remind = self._clock() + max(run.timeout, REMINDER_S)
        self._guarded(self._advance)

    # -- what follows ----------------------------------------------------------------------------

    def _guarded(self, function: Callable[..., None], *args: object) -> None:
        try:
            function(*args)
        except Exception as error:  # whoever waits for the round is told, whatever it is
            self._end(error)

    def _open(self, run: _Run) -> None:
        self._serial = run.serial = self._serial + 1
        run.waiting = set(run.round.voters())
        away, names = self._members.away, self._members.names
        run.expected = {n for n in run.waiting if names[n] not in away} if away else {*run.waiting}
        run.answered = 0
        run.began = self._clock()
        run.remind = run.began + run.timeout
        run.enough = self._is_enough(run)
        for node_id in tuple(run.waiting):
            self._ask(node_id)
        self._set_deadline(run)

    def _ask(self, node_id: int) -> None:
        run = self._run
        if run is None or node_id not in run.waiting or node_id in run.lacking:
            return
        if node_id in self._under_way or not self._transport.is_attached(node_id):
            return
        try:
            round_, step, frame, payload = run.round.request(node_id)
        except PayloadError as error:
            self._transport.suspend(node_id, f"it sent {error}")
            return
        name = self._members.names[node_id]
        self._ledger.add(name, "down", payload=payload, message=len(frame))
        self._under_way[node_id] = _Asked(run.serial, round_, step, self._clock())
        self._transport.transmit(node_id, frame)

    def _take(
        self, node_id: int, asked: _Asked, body: pb.Ballot | pb.OutOfSync | pb.Failure
    ) -> None:
        run, name = self._run, self._members.names[node_id]
        limit = run.timeout if run is not None else math.inf
        if self._clock() - asked.at <= self._pace.patience(limit):
            self._members.in_time(name)
        if run is None or asked.serial != run.serial:
            self._members.faults.add("late")
            log.info("late answer from %s", name)
            self._ask(node_id)
        elif isinstance(body, pb.Failure):
            self._lose(node_id, body.reason)
        else:
            try:
                outcome = run.round.receive(node_id, body)
            except PayloadError as error:
                self._transport.suspend(node_id, f"it sent {error}")
                return
            if outcome is Outcome.ANSWERED:
                self._answered(run, node_id)
            elif outcome is Outcome.ASK_AGAIN:
                self._ask(node_id)
            else:
                run.lacking.add(node_id)
                self._transport.lacks_base(run.round, node_id)

    def _answered(self, run: _Run, node_id: int) -> None:
        run.waiting.discard(node_id)
        run.expected.discard(node_id)
        run.answered += 1
        if not run.enough and self._is_enough(run):
            run.enough = True
            self._pace.note(self._clock() - run.began)
            self._set_deadline(run)
        if run.enough:
            self._advance()

    def _lose(self, node_id: int, reason: str) -> None:
        run = self._run
        if run is not None:
            run.round.lose(node_id, reason)
            for members in (run.waiting, run.expected, run.lacking):
                members.discard(node_id)
            run.enough = self._is_enough(run)
            self._advance()

    def _is_enough(self, run: _Run) -> bool:
        return run.answered >= min(self._members.quorum, run.answered + len(run.waiting))

    def _is_over(self, run: _Run) -> bool:
        if not run.waiting:
            return True
        if not run.enough:
            return False
        return not run.expected or self._clock() >= run.began + self._pace.patience(run.timeout)

    def _advance(self) -> None:
        """Close the open step if it is over, and open the next."""
        run = self._run
        while run is not None and self._is_over(run):
            for node_id in run.waiting:
                self._members.missed(self._members.names[node_id])
            if not run.round.close():
                self._end(None)
                return
            self._open(run)
            run = self._run
        if run is not None:
            self._set_deadline(run)

    def _set_deadline(self, run: _Run) -> None:
        patience = self._pace.patience(run.timeout)
        self.deadline = run.began + patience if run.enough else run.remind

    def _end(self, error: Exception | None) -> None:
        run = self._run
        self.stop()
        if run is not None:
            self._transport.steps_over(run.round, error)
        elif error is not None:
            log.error("between two rounds", exc_info=error)
