"""Who takes part in a round, and whether that is enough."""

from __future__ import annotations

import logging
from collections.abc import Set
from dataclasses import dataclass, field

from hierfl.errors import RunFailed, shortened
from hierfl.link.membership import Membership

log = logging.getLogger(__name__)


@dataclass
class Participants:
    """The children that have not failed in a round.

    Args:
        children: all of them.
        round: the round.
        resting: the node ids of those that take no part, but go to the round's base.

    Attributes:
        left: the node ids of those that have not failed.
    """

    children: Membership
    round: int
    resting: Set[int] = frozenset()
    left: set[int] = field(init=False)

    def __post_init__(self) -> None:
        self.left = set(self.children.names)

    @property
    def voters(self) -> set[int]:
        """Those that have not failed and do not rest."""
        return self.left - self.resting

    def lose(self, node_id: int, reason: str, hint: str | None = None) -> None:
        """Go on without a child for the rest of the round.

        Raises:
            RunFailed: if those that are left are no quorum.
        """
        if node_id not in self.left:
            return
        name, reason, quorum = self.children.names[node_id], shortened(reason), self.children.quorum
        log.error("%s is out of round %d: %s", name, self.round, reason)
        self.left.discard(node_id)
        left = len(self.left)
        if left < quorum:
            some = quorum < len(self.children.names)
            share = f" ({left} are left, the quorum is {quorum})" if some else ""
            raise RunFailed(f"{name}: {reason}{share}", hint)
