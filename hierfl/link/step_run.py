"""A round's steps, as seen by the thread that waits for their end."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator

from flwr.app import Message

from hierfl.link.requests import RequestGrid
from hierfl.link.steps import StepRound


class StepRun(Iterator[Message | int]):
    """What the round's steps leave to the thread that waits for them.

    Ballots are counted elsewhere. Iterating waits for the end, and yields meanwhile the node id of
    each child that lacks the round's base, and the replies to the messages with which the caller
    brings it there. What ended the round before its time is raised.

    Attributes:
        round: the round.
        lacking: the children that have just said that they lack the base.
    """

    def __init__(self, grid: RequestGrid, round_: StepRound) -> None:
        self.round = round_
        self.lacking: deque[int] = deque()
        self._grid = grid
        self._replies: deque[Message] = deque()
        self._pending: set[str] = set()
        self._over = False
        self._error: Exception | None = None

    def ask(self, messages: Iterable[Message]) -> None:
        """Send messages to children that lack the base."""
        self._pending.update(self._grid.push(messages, self._replies))

    def end(self, error: Exception | None) -> None:
        """The steps are over."""
        self._over, self._error = True, error

    def __next__(self) -> Message | int:
        """Return the next child, or the next reply."""
        while not self._over:
            if self._replies:
                reply = self._replies.popleft()
                self._pending.discard(reply.metadata.reply_to_message_id)
                return reply
            if self.lacking:
                return self.lacking.popleft()
            self._grid.take_one(math.inf)
        if self._error is not None:
            raise self._error
        raise StopIteration

    def __enter__(self) -> StepRun:
        return self

    def __exit__(self, *error: object) -> None:
        self._grid.end_steps()
        self._grid.give_up(self._pending)
