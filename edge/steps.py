"""A round's steps on a grid, and the devices that must be brought to its base meanwhile."""

from __future__ import annotations

from flwr.app import Message

from edge.voting import Voting
from hierfl.errors import PayloadError
from hierfl.link.base_grid import BaseGrid
from hierfl.protocol.base_sync import BaseSync


def take_steps(grid: BaseGrid, voting: Voting, sync: BaseSync, timeout: float) -> None:
    """Take a round's steps to the end.

    Ballots are counted in the grid's event loop, where it has one; a device that lacks the base is
    brought there by this thread, and votes from then on.

    Args:
        grid: the devices.
        voting: the round.
        sync: has brought devices to the base, and brings those that come later.
        timeout: see `BaseGrid.steps`.

    Raises:
        RunFailed: if the cluster falls below its quorum for good, or nobody can vote.
    """
    with grid.steps(voting, timeout) as steps:
        for event in steps:
            if isinstance(event, int):
                node_id, following = event, [*sync.start(event)]
            else:
                node_id, following = event.metadata.src_node_id, _next(grid, sync, event)
            following += sync.unstick()
            steps.ask(following)
            if not following and node_id in sync.moved:
                grid.in_exchange(voting.joined, node_id, sync.moved[node_id].examples)
                grid.has_base(node_id)


def _next(grid: BaseGrid, sync: BaseSync, reply: Message) -> list[Message]:
    """Return what a device is sent after its reply on the way to the base."""
    node_id = reply.metadata.src_node_id
    sync.moved.pop(node_id, None)
    if reply.has_error():
        grid.lose(node_id, str(reply.error.reason))
        return []
    try:
        return [*sync.take(reply)]
    except PayloadError as error:
        final = grid.suspend(node_id, f"it sent {error}")
        return [] if final else [*sync.start(node_id)]
