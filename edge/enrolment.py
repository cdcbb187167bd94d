"""An edge enrols: what its devices hold goes up as one, what all nodes hold comes down to them."""

from __future__ import annotations

import logging

from hierfl.config import CLOUD, Config
from hierfl.config.digest import digest
from hierfl.link.enrol_client import EnrolClient
from hierfl.link.enrolment import Enrolment, EnrolServer
from hierfl.link.loop import LinkLoop
from hierfl.protocol.enrolment import Gathering, enrol, tell
from hierfl.protocol.facts import Facts, merge
from hierfl.tls.identity import Identity
from hierfl.tls.policy import revocations

log = logging.getLogger(__name__)


def enrol_cluster(
    config: Config,
    name: str,
    loop: LinkLoop,
    *,
    credentials: Identity | None,
    token: str,
    devices_token: str,
    patience: float,
) -> Enrolment | None:
    """Enrol an edge with its devices, unless a run that goes on has enrolled all nodes before.

    Args:
        config: the configuration.
        name: the edge's name.
        loop: the process's event loop for links.
        credentials: the edge's identity; None: plain text.
        token: the secret of the cloud's link, where there is one.
        devices_token: the secret of its own link.
        patience: seconds without the cloud after which it gives up.

    Returns:
        What answers devices that come later; None where devices have no data of their own.

    Raises:
        HierflError: devices are missing or hold what cannot be merged, or the cloud refuses it.
    """
    if not config.data.is_own:
        return None
    plan, quorum = digest(config).to_text(), config.quorum
    client = EnrolClient(
        config.cloud.address,
        name,
        plan=plan,
        token=token,
        patience=patience,
        heartbeat=quorum.heartbeat,
        credentials=credentials.towards(CLOUD) if credentials else None,
    )
    edge = config.edge(name)
    server = EnrolServer(
        edge.address,
        edge.devices,
        loop=loop,
        plan=plan,
        heartbeat=quorum.heartbeat,
        credentials=credentials,
        revoked=revocations(config),
        token=devices_token,
    )
    with server:
        if known := client.enrol(b""):
            log.info("all nodes have enrolled before")
            whole = Facts.from_bytes(known)
        else:
            gathering = Gathering(server.enrolment, edge.devices, quorum.devices)
            whole = enrol(client, merge(gathering.facts(quorum.round_timeout, quorum.step_timeout)))
        tell(server.enrolment, whole)
    return server.enrolment
