"""What those who wait for replies need of a grid."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Protocol

from flwr.app import Message

from hierfl.link.membership import Membership


class RequestGrid(Protocol):
    """Sends requests and takes events; see `BaseGrid`."""

    names: dict[int, str]
    members: Membership

    def push(
        self, messages: Iterable[Message], replies: deque[Message], timeout: float | None = None
    ) -> list[str]:
        """Send messages whose replies go into `replies`; return their identifiers."""

    def take_one(self, deadline: float) -> bool:
        """Take one event; return whether there was one before the deadline."""

    def give_up(self, message_ids: Iterable[str]) -> None:
        """Drop requests: these children have missed the end."""

    def end_steps(self) -> None:
        """Leave the steps under way, if there are some."""
