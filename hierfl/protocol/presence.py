"""How a parent's children are, and since when: attached, or what is the matter."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from hierfl.link.membership import Membership
from hierfl.process.periodic import Periodic

STATES = ("attached", "missing", "away", "late", "abstaining", "turned away")
"""`missing`: there is no connection. `away`: too often late to be waited for. `late`: the last
answers were. `abstaining`: it could not vote. `turned away`: it broke the protocol."""

PLAIN = ("attached", "missing")
"""What `DevicesAttached` says."""

LOOK_S = 1.0


@dataclass(frozen=True)
class ChildState:
    """How one child is.

    Attributes:
        name: the child.
        state: one of `STATES`.
        since: seconds since 1970.
        why: for people; "" where there is nothing to say.
    """

    name: str
    state: str
    since: float
    why: str = ""


class Roll:
    """Looks at a parent's children.

    Args:
        members: the children.
        missing: returns the names of those that are not attached now.
        abstaining: returns those that could not vote when they were asked last, and why.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        members: Membership,
        missing: Callable[[], Iterable[str]],
        abstaining: Callable[[], Mapping[str, str]] = dict,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._members = members
        self._missing = missing
        self._abstaining = abstaining
        self._clock = clock
        self._last: dict[str, ChildState] = {}

    def look(self) -> tuple[ChildState, ...]:
        """Return how all children are, in the topology's order."""
        missing, abstaining, now = set(self._missing()), dict(self._abstaining()), self._clock()
        for name in self._members.names.values():
            state, why = self._members.condition(name)
            if state != "turned away" and name in missing:
                state, why = "missing", ""
            elif not state and name in abstaining:
                state, why = "abstaining", abstaining[name]
            before = self._last.get(name)
            if before is None or (before.state, before.why) != (state or "attached", why):
                self._last[name] = ChildState(name, state or "attached", now, why)
        return tuple(self._last[name] for name in self._members.names.values())


def troubled(states: Iterable[ChildState]) -> tuple[ChildState, ...]:
    """Return those that are neither attached and well nor missing."""
    return tuple(one for one in states if one.state not in PLAIN)


class Watch(Periodic):
    """While entered, looks once a second in a thread of its own, and tells what has changed.

    Args:
        look: returns what is told if it is another than before.
        tell: is told.
    """

    def __init__(
        self,
        look: Callable[[], Sequence[ChildState]],
        tell: Callable[[Sequence[ChildState]], None],
        every: float = LOOK_S,
    ) -> None:
        super().__init__(self._tell_news, every, "presence")
        self._look, self._tell = look, tell
        self._told: Sequence[ChildState] | None = ()

    def again(self) -> None:
        """Tell it once more: whoever was told may be another process now."""
        self._told = None

    def _tell_news(self) -> None:
        if (seen := self._look()) != self._told:
            self._tell(seen)
            self._told = seen
