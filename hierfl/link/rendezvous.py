"""The rendezvous: how nodes are discovered where no configuration lists them.

On Flower's engine nobody has a list of names. Each child registers at its parent with its own name,
an edge with those of its devices as well, and waits for the configuration of the whole federation.
Then the rendezvous closes, and the link opens at the same address.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import grpc

from hierfl.errors import LinkError, PeerRefused
from hierfl.link import link_pb2 as pb
from hierfl.link.admission import contradiction, same_secret
from hierfl.link.bind import bind, serve
from hierfl.link.channel_options import HEARTBEAT_S, client_options, server_options
from hierfl.link.log_throttle import LogThrottle
from hierfl.tls.identity import Identity, Towards, dial

log = logging.getLogger(__name__)

METHOD = "/hierfl.link.v1.Rendezvous/Enter"
LONGEST_ENTRY = 1 << 20
"""Bytes: the names of many thousand devices."""

PAUSE_S = 0.5
REACH_S = 20.0
"""Seconds within which a rendezvous must be reached: it is open before anybody is asked in."""


class Rendezvous:
    """The parent's side.

    Args:
        address: "host:port" to listen at; port 0 lets the kernel choose.
        token: the run's secret.
        children: how many children may wait.
        credentials: this node's identity, and children must show theirs; None: plain text.
    """

    def __init__(
        self, address: str, token: str, children: int, credentials: Identity | None = None
    ) -> None:
        self._token = token
        self._credentials = credentials
        self._changed = threading.Condition()
        self._entries: dict[str, pb.Entry] = {}
        self._place: pb.Place | None = None
        self._closed = False
        self._server = grpc.server(
            ThreadPoolExecutor(children + 8),
            options=server_options(LONGEST_ENTRY, HEARTBEAT_S, children),
        )
        handler = grpc.unary_unary_rpc_method_handler(
            self._enter, pb.Entry.FromString, pb.Place.SerializeToString
        )
        serve(self._server, METHOD, handler)
        secrets = credentials.to_children() if credentials else None
        self.address = bind(self._server, address, secrets)

    def __enter__(self) -> Rendezvous:
        self._server.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let everybody go, and free the port; the answers under way arrive."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._server.stop(grace=2.0).wait()

    def wait(
        self, number: int, timeout: float, check: Callable[[], None] = lambda: None
    ) -> list[pb.Entry] | None:
        """Wait until so many children are here; return them in the order of their names.

        Args:
            number: how many.
            timeout: seconds after which None is returned.
            check: called twice a second; what it raises ends the waiting.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while len(self._entries) < number:
                check()
                if time.monotonic() > deadline:
                    return None
                self._changed.wait(PAUSE_S)
            return [self._entries[name] for name in sorted(self._entries)]

    def names(self) -> list[str]:
        """Return who is here."""
        with self._changed:
            return sorted(self._entries)

    def answer(self, config: str) -> None:
        """Tell all that are here what federation they are part of."""
        with self._changed:
            self._place = pb.Place(config=config)
            self._changed.notify_all()

    def _enter(self, entry: pb.Entry, context: grpc.ServicerContext) -> pb.Place:
        name = self._checked(entry, context)
        with self._changed:
            if name in self._entries:
                _refuse(context, grpc.StatusCode.ALREADY_EXISTS, f"{name} is here already: no two "
                        "nodes may have one name")  # fmt: skip
            log.info("%s is in the rendezvous", name)
            self._entries[name] = entry
            self._changed.notify_all()
            while self._place is None and not self._closed and context.is_active():
                self._changed.wait(PAUSE_S)
            if self._place is None:
                del self._entries[name]
                _refuse(context, grpc.StatusCode.UNAVAILABLE, "the rendezvous is closed")
            return self._place

    def _checked(self, entry: pb.Entry, context: grpc.ServicerContext) -> str:
        if not same_secret(entry.token, self._token):
            _refuse(context, grpc.StatusCode.PERMISSION_DENIED, "it does not know the run's token")
        if not entry.name:
            _refuse(context, grpc.StatusCode.PERMISSION_DENIED, "a node without a name")
        if self._credentials and (lie := contradiction(entry.name, context.auth_context())):
            _refuse(context, grpc.StatusCode.PERMISSION_DENIED, lie)
        return entry.name


_throttle = LogThrottle()


def _refuse(context: grpc.ServicerContext, code: grpc.StatusCode, reason: str) -> NoReturn:
    if line := _throttle.line(context.peer(), f"turned away {context.peer()}: {reason}"):
        log.warning("%s", line)
    context.abort(code, reason)
    raise AssertionError("abort raises")


def enter(
    address: str,
    entry: pb.Entry,
    timeout: float,
    towards: Towards | None = None,
) -> str:
    """Wait in a parent's rendezvous; return the federation's configuration, YAML.

    Args:
        address: the rendezvous's.
        entry: who enters.
        timeout: seconds after which to give up.
        towards: this node's identity on its way to the parent; None: plain text.

    Raises:
        PeerRefused: if the parent does not let it in.
        LinkError: if the parent cannot be reached, or does not answer in time.
    """
    options = client_options(LONGEST_ENTRY, HEARTBEAT_S)
    deadline = time.monotonic() + timeout
    reach = min(deadline, time.monotonic() + REACH_S)
    while True:
        with dial(address, options, towards, grpc) as channel:
            call = channel.unary_unary(METHOD, pb.Entry.SerializeToString, pb.Place.FromString)
            try:
                place = call(entry, timeout=max(0.1, deadline - time.monotonic()))
                return str(place.config)
            except grpc.RpcError as error:
                code, details = error.code(), error.details()
                if code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.ALREADY_EXISTS):
                    raise PeerRefused(
                        f"the parent at {address} refused {entry.name}: {details}"
                    ) from None
                if time.monotonic() + PAUSE_S > reach:
                    reason = (towards and towards.mistrust(details)) or details
                    raise LinkError(
                        f"{entry.name} cannot join its parent at {address}: {reason}",
                        "Is the parent's link-address right, reachable from here and open in its "
                        "firewall, and certs set at both or neither?",
                    ) from None
        time.sleep(PAUSE_S)
