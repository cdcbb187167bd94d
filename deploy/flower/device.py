"""The device's ClientApp: it votes until the run is over, then replies to its one message."""

from __future__ import annotations

from pathlib import Path

from clients.main import run
from deploy.flower.invitation import PATIENCE_S, Invitation, Node, state_folder
from hierfl.learning.threads import one_thread


def device(node: Node, invitation: Invitation, home: Path) -> None:
    """Run the device of the edge that has sent the invitation.

    Args:
        node: the device; its node config may name the folder of its data (`data-root`).
        invitation: the edge's invitation.
        home: FLWR_HOME on this machine.

    Raises:
        HierflError: for any expected error.
    """
    one_thread()
    config = node.local(invitation.config or node.join(invitation))
    state = state_folder(home, config)
    run(config, [node.name], state, token=invitation.token, patience=PATIENCE_S)
