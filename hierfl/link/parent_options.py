"""What a topology says of a parent's link, whatever travels on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from hierfl.config import CLOUD, Config
from hierfl.tls.identity import Identity
from hierfl.tls.policy import identity, revocations, warn_of_expiry
from hierfl.tls.revocation import RevocationList


class ParentOptions(TypedDict):
    """Arguments of `LinkGrid`; see there."""

    address: str
    children: Sequence[str]
    quorum: float
    max_missed: int
    heartbeat: float
    credentials: Identity | None
    revoked: RevocationList | None


def parent_options(config: Config, name: str) -> ParentOptions:
    """Return the arguments of the link of the cloud, or of the edge of that name.

    If the parent's certificate expires soon, that is said in the log.

    Raises:
        ConfigError: plain text would leave this machine, or the certificate cannot be used.
    """
    quorum, credentials = config.quorum, identity(config, name)
    warn_of_expiry(credentials)
    if name == CLOUD:
        address, children, share = config.cloud.address, [*config.tree()], quorum.edges
    else:
        edge = config.edge(name)
        address, children, share = edge.address, [*edge.devices], quorum.devices
    return ParentOptions(
        address=address,
        children=children,
        quorum=share,
        max_missed=quorum.max_missed,
        heartbeat=quorum.heartbeat,
        credentials=credentials,
        revoked=revocations(config),
    )
