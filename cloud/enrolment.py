"""The cloud enrols all nodes: it merges what the edges' clusters hold, and tells all of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from cloud.held import Held
from hierfl.config import CLOUD, Config
from hierfl.config.digest import digest
from hierfl.link.bind import await_address
from hierfl.link.enrolment import Enrolment, EnrolServer
from hierfl.link.loop import LinkLoop
from hierfl.protocol.enrolment import Gathering, tell
from hierfl.protocol.facts import Facts, merge
from hierfl.tls.identity import Identity
from hierfl.tls.policy import revocations


def hold(
    config: Config,
    out: Path,
    loop: LinkLoop,
    say: Callable[[str], None],
    *,
    credentials: Identity | None,
    token: str,
) -> tuple[Held, Enrolment | None]:
    """Return what the cloud holds; where each device has data of its own, all nodes enrol first.

    Args:
        config: the configuration.
        out: the run folder.
        loop: the process's event loop for links.
        say: is called with a line about whom it waits for.
        credentials: the cloud's identity; None: plain text.
        token: the secret of its link, where there is one.

    Returns:
        What it holds, and what answers edges that come later.

    Raises:
        HierflError: edges are missing, or hold what cannot be merged.
    """
    if not config.data.is_own:
        return Held.of(config, out), None
    edges, quorum = list(config.tree()), config.quorum
    server = EnrolServer(
        config.cloud.address,
        edges,
        loop=loop,
        plan=digest(config).to_text(),
        heartbeat=quorum.heartbeat,
        credentials=credentials,
        revoked=revocations(config),
        token=token,
    )
    with ExitStack() as stack:

        def enrol(own: Facts | None) -> Facts:
            await_address(config.cloud.address, say=say)
            stack.enter_context(server)
            say(f"listening at {server.address}, waiting for {', '.join(edges)} to enrol")
            gathering = Gathering(server.enrolment, edges, say=say)
            heard = gathering.facts(quorum.round_timeout, 0.0)
            return merge(heard | ({CLOUD: own} if own else {}))

        held = Held.of(config, out, enrol)
        tell(server.enrolment, held.task.facts)
    return held, server.enrolment
