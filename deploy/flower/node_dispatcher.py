"""Keeps every node of a SuperLink running by sending it one message, whose reply ends the node.

A node whose ClientApp has failed, or whose SuperNode was restarted, gets another message. Flower's
grid is used only in this thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from flwr.serverapp import Grid

from deploy.flower.invitation import Invitation
from hierfl.errors import RunFailed, shortened
from hierfl.link.flower_compat import on_engine_exit
from hierfl.link.link_grid import LinkGrid

log = logging.getLogger(__name__)

EVERY_S = 1.0
"""Seconds between two polls of the nodes and their replies."""

MOST_FAILURES = 3
"""How often a node may fail quickly before the run fails."""

AT_ONCE_S = 30.0
"""A failure after so many seconds is not a quick one."""

FAREWELL_S = 30.0
"""Seconds in which the nodes must reply after the end of the run."""


class NodeDispatcher:
    """Sends messages to the nodes until the run is over.

    Args:
        grid: Flower's grid.
        invitation: the first invitation.

    Attributes:
        invitation: the invitation that is sent now.
    """

    def __init__(self, grid: Grid, invitation: Invitation) -> None:
        self.invitation = invitation
        self._grid = grid
        self._asked: dict[str, tuple[int, float]] = {}
        self._failures: Counter[int] = Counter()
        self._over = threading.Event()
        self._farewell = 0.0
        self._failed: str | None = None
        self._watched: LinkGrid | None = None
        self._thread = threading.Thread(target=self._run, name="node-dispatcher", daemon=True)

    def towards(self, address: str) -> NodeDispatcher:
        """Set the address to which nodes connect."""
        self.invitation = replace(self.invitation, address=address)
        return self

    def known(self, config: str) -> None:
        """Set the configuration; nodes that come later need not wait at the rendezvous."""
        self.invitation = replace(self.invitation, config=config)

    def watch(self, grid: LinkGrid) -> None:
        """Abort a link's run when a node has failed too often or Flower stops the run."""
        self._watched = grid
        on_engine_exit(lambda: grid.close("the run was stopped"))

    def __enter__(self) -> NodeDispatcher:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._farewell = FAREWELL_S if kind is None else 0.0  # a failed run ends immediately
        self._over.set()
        self._thread.join(FAREWELL_S + EVERY_S)

    def check(self) -> None:
        """Check that no node has failed too often.

        Raises:
            RunFailed: if one has, with its reason.
        """
        if self._failed is not None:
            raise RunFailed(self._failed)

    def _run(self) -> None:
        try:
            while not self._over.wait(EVERY_S):
                self._invite_all()
                self._hear(self._again)
            deadline = time.monotonic() + self._farewell
            while self._asked and time.monotonic() < deadline:
                self._hear(lambda node_id, reason: None)
                time.sleep(EVERY_S)
        except Exception as error:  # the error must not be lost with the thread
            self._give_up(f"Flower's SuperLink: {type(error).__name__}: {error}")

    def _invite_all(self) -> None:
        """Send a message to every node without one."""
        busy = {node_id for node_id, _ in self._asked.values()}
        names = nodes(self._grid)
        messages = [
            replace(self.invitation, registered=names[node_id]).to_message(node_id)
            for node_id in names.keys() - busy
        ]
        if messages:
            for message, message_id in zip(
                messages, self._grid.push_messages(messages), strict=True
            ):
                if message_id:
                    self._asked[message_id] = message.metadata.dst_node_id, time.monotonic()

    def _hear(self, failed: Callable[[int, str], None]) -> None:
        """Process the replies that have arrived."""
        if not self._asked:
            return
        for reply in self._grid.pull_messages(list(self._asked)):
            node_id, since = self._asked.pop(reply.metadata.reply_to_message_id)
            if time.monotonic() - since > AT_ONCE_S:
                self._failures.pop(node_id, None)
            if reply.has_error():
                failed(node_id, shortened(str(reply.error.reason)))

    def _again(self, node_id: int, reason: str) -> None:
        self._failures[node_id] += 1
        log.warning("node %d has failed: %s", node_id, reason)
        if self._failures[node_id] >= MOST_FAILURES:
            self._give_up(reason)

    def _give_up(self, reason: str) -> None:
        log.error("%s", reason)
        self._failed = self._failed or reason
        if self._watched is not None:
            self._watched.abort(reason)


def nodes(grid: Grid) -> dict[int, str]:
    """Return the attached nodes: node id -> registered name, or ""."""
    return {node.node_id: node.name for node in grid.get_nodes()}


def gather(
    grid: Grid, number: int, timeout: float, what: str, look: Callable[[], object] = bool
) -> int:
    """Wait until `number` nodes are attached; return how many are.

    `look` is called repeatedly while waiting; an exception that it raises ends the wait.

    Raises:
        RunFailed: after `timeout` seconds.
    """
    deadline, pause = time.monotonic() + timeout, threading.Event()
    while (here := len(nodes(grid))) < number:
        look()
        if time.monotonic() > deadline:
            raise RunFailed(
                f"{here} of {number} {what} are attached to this SuperLink after {timeout:g} s",
                f"Check that the SuperNodes of all {what} are running and use this SuperLink.",
            )
        pause.wait(EVERY_S)
    return here
