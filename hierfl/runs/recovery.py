"""Whether what a federation's nodes have on disk is enough to go on in the same bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

Rounds = Mapping[str, Set[int]]
"""Node -> the rounds at whose start its state is on disk, whole."""


def behind(tree: Mapping[str, Sequence[str]], cloud: int, rounds: Rounds) -> list[str]:
    """Return the nodes whose state is lost where all take part in all rounds, in the tree's order.

    A node follows its parent from the round before, or goes back to its parent's round, or redoes
    the round before with its parent's help. Who can do none of this takes the whole model from its
    parent: what it had besides, a momentum or a residual, is lost. Before round 1 nobody had any.

    Args:
        tree: edge -> its devices.
        cloud: the round at whose start the cloud goes on.
        rounds: of all edges and devices.
    """
    lost = []
    for edge, devices in tree.items():
        at = _place(cloud, rounds[edge])
        if at is None:
            lost.append(edge)
            continue
        late = {device for device in devices if at > 1 and at not in rounds[device]}
        able = {device for device in devices if at - 1 in rounds[edge] & rounds[device]}
        out = late - able
        if late & able and at - 1 > 1:  # one that is a round behind makes its cluster go back
            out |= set(devices) - able
        lost += [device for device in devices if device in out]
    return lost


def _place(parent: int, rounds: Set[int]) -> int | None:
    """Return the round in which a node meets its parent, or None."""
    first = 1 if parent == 1 else None
    return next((at for at in (parent, parent - 1) if at in rounds), first)
