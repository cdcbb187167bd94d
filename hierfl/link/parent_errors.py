"""Errors of a child that gives up its parent; the same at enrolment and on the link."""

from __future__ import annotations

from hierfl.errors import LinkError, PeerRefused


def no_parent(name: str, address: str, reason: str) -> LinkError:
    """Return the error of a child whose parent was away for too long."""
    return LinkError(
        f"{name} has no parent at {address}: {reason}",
        "Is the parent running, its address right and reachable from here, and "
        "security.certs set at both or neither?",
    )


def mistrusted(name: str, address: str, reason: str) -> LinkError:
    """Return the error of a child that reaches somebody else than its parent."""
    return LinkError(
        f"{name} does not trust {address}: {reason}",
        "Is the address right? All nodes' certificates must come from one and the same\n"
        "`hierfl certs TOPOLOGY --out DIR`, and be renewed when they expire.",
    )


def refused(name: str, address: str, reason: str) -> PeerRefused:
    """Return the error of a child that its parent does not admit."""
    return PeerRefused(f"the parent at {address} refused {name}: {reason}")
