"""The child's side of an enrolment; see `hierfl.link.enrolment`."""

from __future__ import annotations

import logging
import time

import grpc

from hierfl.errors import DataError, ParentFailed, PeerRefused, shortened
from hierfl.link import frames
from hierfl.link import link_pb2 as pb
from hierfl.link.channel_options import HEARTBEAT_S, client_options
from hierfl.link.client import SAY_AGAIN_S, until_listening
from hierfl.link.enrolment import LONGEST, METHOD
from hierfl.link.parent_errors import mistrusted, no_parent, refused
from hierfl.tls.identity import Towards, dial

log = logging.getLogger(__name__)

PAUSE_S = 1.0
"""Seconds until a parent is tried again, at most: it may have been started a moment later."""

LEAST_PAUSE_S = 0.1
"""Seconds until a parent is asked again that is there and cannot answer."""


class EnrolClient:
    """Enrols one node at its parent.

    Args:
        address: "host:port" of the parent.
        name: this node's name in the topology.
        plan: fingerprint of this node's configuration.
        token: the run's secret, where the parent asks for one.
        patience: seconds without a parent after which to give up.
        heartbeat: seconds within which a parent that has vanished is given up.
        credentials: this node's identity on its way to the parent; None: plain text.
    """

    def __init__(
        self,
        address: str,
        name: str,
        *,
        plan: str = "",
        token: str = "",
        patience: float = 600.0,
        heartbeat: float = HEARTBEAT_S,
        credentials: Towards | None = None,
    ) -> None:
        self._address = address
        self._name = name
        self._hello = pb.Hello(name=name, protocol=frames.PROTOCOL, plan=plan, token=token)
        self._patience = patience
        self._options = client_options(LONGEST, heartbeat)
        self._credentials = credentials
        self._reached = False  # the parent, when it was asked last

    def enrol(self, facts: bytes) -> bytes:
        """Say what is here, and wait until the parent says what all nodes hold together.

        Args:
            facts: what is here; b"": only ask what is known so far.

        Returns:
            What all hold; b"" where this was only asked, and is not known yet.

        Raises:
            PeerRefused: the parent does not admit this node, or its data.
            ParentFailed: the parent says that the run has failed.
            LinkError: the parent was away for longer than `patience`, or is not who it should be.
            DataError: there is more to say than fits.
        """
        request = pb.EnrolRequest(hello=self._hello, facts=facts)
        if request.ByteSize() > LONGEST:
            raise DataError(
                f"what is known of the data of {self._name} takes {request.ByteSize()} bytes, "
                f"of {LONGEST} at most",
                "Is a column of text or of numbers taken as the target of a classification?",
            )
        away_since, said, said_at = time.monotonic(), "", 0.0
        while True:
            reason = self._ask(request)
            if not isinstance(reason, str):
                return bytes(reason.facts)
            now = time.monotonic()
            if self._reached:
                away_since = now
            if now - away_since > self._patience:
                raise no_parent(self._name, self._address, reason)
            if reason != said or now - said_at > SAY_AGAIN_S:
                log.warning("no parent at %s yet: %s", self._address, reason)
                said, said_at = reason, now
            until_listening(self._address, PAUSE_S)
            time.sleep(LEAST_PAUSE_S)

    def _ask(self, request: pb.EnrolRequest) -> pb.EnrolReply | str:
        """Return the parent's answer, or why to ask again."""
        with dial(self._address, self._options, self._credentials, grpc) as channel:
            method = channel.unary_unary(
                METHOD, pb.EnrolRequest.SerializeToString, pb.EnrolReply.FromString
            )
            try:
                call = method.future(request)
                call.initial_metadata()  # sent when the parent has heard this node
                self._reached = not call.done()
                reply: pb.EnrolReply = call.result()
            except grpc.RpcError as error:
                return self._explained(error)
        goodbye = reply.goodbye
        reason = shortened(goodbye.reason)
        match goodbye.code:
            case pb.Goodbye.UNSPECIFIED:
                return reply
            case pb.Goodbye.BUSY:
                return reason
            case pb.Goodbye.REFUSED:
                raise refused(self._name, self._address, reason)
            case _:
                raise ParentFailed(reason)

    def _explained(self, error: grpc.RpcError) -> str:
        """Return why to ask again, or raise LinkError if that is useless."""
        details = error.details() or error.code().name
        if error.code() == grpc.StatusCode.UNIMPLEMENTED:
            raise PeerRefused(
                f"the parent at {self._address} takes no enrolment: is data.partition the same in "
                "its topology file, and the version of hierfl?"
            ) from error
        if mistrust := self._credentials and self._credentials.mistrust(details):
            raise mistrusted(self._name, self._address, mistrust) from error
        return str(details)
