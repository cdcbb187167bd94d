"""Discovery over Flower's messages: each node of a SuperLink is asked for its name."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from flwr.serverapp import Grid

from deploy.flower.invitation import Invitation
from deploy.flower.node_dispatcher import gather, nodes
from deploy.flower.polling.grid import ask_all, from_content
from hierfl.errors import RunFailed

TYPE = "query.who"


class Found(NamedTuple):
    """The nodes of a SuperLink, by name, in the names' order.

    Attributes:
        node_ids: Flower's.
        facts: what each says of itself.
        seconds: how long asking them took.
    """

    node_ids: dict[str, int]
    facts: dict[str, dict[str, Any]]
    seconds: float


def call(
    grid: Grid, invitation: Invitation, number: int, what: str, look: Callable[[], object] = bool
) -> Found:
    """Wait until so many nodes are there, and ask all of them who they are.

    `look` is called about twice a second meanwhile; what it raises ends the wait.

    Raises:
        RunFailed: not so many are there in time, one does not say who it is, or two are the same.
    """
    gather(grid, number, invitation.wait, what, look)
    messages = [
        replace(invitation, registered=name).to_message(node_id, TYPE)
        for node_id, name in nodes(grid).items()
    ]
    begin = time.monotonic()
    replies = ask_all(grid, messages, invitation.wait, look)
    seconds = time.monotonic() - begin
    found: dict[str, tuple[int, dict[str, Any]]] = {}
    for reply in replies:
        facts = json.loads(from_content(reply.content))
        if facts["name"] in found:
            raise RunFailed(f"two nodes are called {facts['name']}: no two may have one name")
        found[facts["name"]] = reply.metadata.src_node_id, facts
    ordered = sorted(found.items())
    return Found(
        {name: node_id for name, (node_id, _) in ordered},
        {name: facts for name, (_, facts) in ordered},
        seconds,
    )
