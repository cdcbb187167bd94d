"""Who a parent's children are, whom it waits for, and whom it has sent away."""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter
from collections.abc import Sequence

from hierfl.errors import shortened
from hierfl.link.traffic import FaultCounter

log = logging.getLogger(__name__)

MAX_MISSED = 5
"""How often running a child may miss the end of a step or a round before it is away."""

MOST_BREACHES = 3
"""With so many breaches of the protocol a child loses its place for the run."""


class Membership:
    """One parent's children; any thread may use it.

    A child that misses the end of several steps running is *away*: nobody waits for it beyond the
    quorum, until it answers in time again. A child that breaks the protocol is *suspended* until it
    says hello anew, and *banned* for the rest of the run once it has done so `MOST_BREACHES` times.

    Args:
        children: their names in the topology's order; child i has Flower's node id i + 1.
        quorum: the share of the children whose answer closes a step or a round.
        max_missed: how often running a child may miss the end before it is away.

    Attributes:
        names: the children's names by node id.
        quorum: how many children make up the quorum.
        away: the children that are not waited for beyond the quorum.
        banned: the children that were sent away for good, and why.
        faults: what went wrong and was survived.
    """

    def __init__(self, children: Sequence[str], quorum: float, max_missed: int) -> None:
        self.names = dict(enumerate(children, start=1))
        self.quorum = math.ceil(quorum * len(children) - 1e-9)
        self.away: set[str] = set()
        self.banned: dict[str, str] = {}
        self.faults = FaultCounter()
        self._max_missed = max_missed
        self._missed: Counter[str] = Counter()
        self._breaches: Counter[str] = Counter()
        self._suspended: dict[str, str] = {}  # and why
        self._lock = threading.Lock()

    def missed(self, child: str) -> None:
        """Note that a child has not answered in time."""
        with self._lock:
            self._missed[child] += 1
            if self._missed[child] < self._max_missed or child in self.away:
                return
            self.away.add(child)
        log.warning("%s is away: nobody waits for it until it answers in time", child)

    def in_time(self, child: str) -> None:
        """Note that a child has answered in time: it is counted on again."""
        if child not in self._missed:
            return
        with self._lock:
            self._missed.pop(child, None)
            if child not in self.away or child in self.banned:
                return
            self.away.discard(child)
        log.info("%s is back", child)

    def breach(self, child: str, reason: str) -> bool:
        """Note that a child broke the protocol, once until it says hello anew.

        Returns:
            whether it has lost its place for the run.
        """
        reason = shortened(reason)
        with self._lock:
            if child in self._suspended:
                return child in self.banned
            self._suspended[child] = reason
            self._breaches[child] += 1
            final = self._breaches[child] >= MOST_BREACHES
            if final:
                self.banned[child] = reason
                self.away.add(child)
        self.faults.add("rejected")
        if final:
            log.warning("%s is sent away for good: %s", child, reason)
        else:
            log.warning("%s is sent away until it says hello anew: %s", child, reason)
        return final

    def readmit(self, child: str) -> None:
        """Note that a child which is not banned has said hello."""
        with self._lock:
            self._suspended.pop(child, None)

    def condition(self, child: str) -> tuple[str, str]:
        """Return what is wrong with a child, and why: "turned away", "away", "late", or ""."""
        if (why := self._suspended.get(child)) is not None:
            return "turned away", why
        if child in self.away:
            return "away", ""
        return ("late" if child in self._missed else ""), ""

    def is_out(self, child: str) -> bool:
        """Return whether a child is suspended or banned: what it still says is not heard."""
        return child in self._suspended
