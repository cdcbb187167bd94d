"""The device's ClientApp: one long message, in which it votes until the run is over."""

from __future__ import annotations

from pathlib import Path

from clients.main import run
from deploy.flower.invitation import PATIENCE_S, Invitation, Node, state_folder
from hierfl.learning.threads import one_thread


def device(node: Node, invitation: Invitation, home: Path) -> None:
    """Vote for the edge that has sent the invitation.

    Args:
        node: the device; its node config may name where its data is (`data-root`).
        invitation: the edge's.
        home: Flower's folder on this machine.

    Raises:
        HierflError: whatever a person can put right.
    """
    one_thread()
    config = node.local(invitation.config or node.join(invitation))
    state = state_folder(home, config)
    run(config, node.name, state, token=invitation.token, patience=PATIENCE_S)
