"""LinkClient: the child's end of a stream, which answers its parent's requests."""

from __future__ import annotations

import logging
import random
import socket
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress

import grpc
from flwr.app import Context, RecordDict
from flwr.clientapp import ClientApp

from hierfl.config.addresses import split
from hierfl.errors import LinkError, ParentFailed, RunFailed, shortened
from hierfl.link import frames
from hierfl.link import link_pb2 as pb
from hierfl.link.admission import ATTACHED
from hierfl.link.base_grid import RUN_ID
from hierfl.link.channel_options import HEARTBEAT_S, LONGEST_FRAME, client_options
from hierfl.link.client_stream import ClientStream, ParentBreach
from hierfl.link.flower_compat import assume_identity
from hierfl.link.loop import LinkLoop
from hierfl.link.parent_errors import mistrusted, no_parent, refused
from hierfl.link.responder import Responder, Vote
from hierfl.link.tls_probe import speaks_tls
from hierfl.tls.identity import Towards

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0
FIRST_CONTACT_PAUSE_S = 1.0
"""The longest pause before the first welcome: parents that are starting are found soon."""

STARTING_S = 10.0
"""Seconds in which a pause before the first welcome ends as soon as the parent listens: all nodes
of a federation may have been started at once."""

LOOK_S = 0.05
"""Seconds between two looks at whether it does."""

OUTLASTED_S = 20.0
"""Seconds that a process whose place another one has goes on to dial a parent that is gone."""

SAY_AGAIN_S = 10.0
"""Seconds between two lines in the log that say the same about an absent parent."""


class LinkClient:
    """Attaches to a parent and answers its requests until it says that the run is over.

    Steps are answered in the event loop's thread, without a hand-over; Flower messages in the
    thread that calls `serve`. One request is worked on at a time.

    Args:
        address: "host:port" of the parent.
        name: this node's name in the topology.
        app: answers Flower messages.
        vote: answers steps; None at a node that is asked for none.
        model: fingerprint of this node's model, "" if it holds none.
        plan: fingerprint of this node's configuration.
        max_frame: no longer frame is read, in bytes.
        patience: seconds without a parent after which to give up.
        heartbeat: seconds within which a parent that has vanished is given up.
        credentials: this node's identity on its way to the parent; None: plain text.
        token: the run's secret, where the parent asks for one.
        loop: the process's event loop for links; None: one of its own.
        on_welcome: called with the parent's welcome, each time.
        position: tells where this node is: round, and decisions applied in it.
    """

    def __init__(
        self,
        address: str,
        name: str,
        app: ClientApp,
        vote: Vote | None = None,
        *,
        model: str = "",
        plan: str = "",
        max_frame: int = LONGEST_FRAME,
        patience: float = 600.0,
        heartbeat: float = HEARTBEAT_S,
        credentials: Towards | None = None,
        token: str = "",
        loop: LinkLoop | None = None,
        on_welcome: Callable[[pb.Welcome], None] = lambda welcome: None,
        position: Callable[[], tuple[int, int]] = lambda: (0, 0),
    ) -> None:
        assume_identity(RUN_ID)
        self.context = Context(RUN_ID, 0, {"name": name}, RecordDict(), {})
        self.responder = Responder(app, self.context, vote)
        self._address = address
        self._name = name
        self._model = model
        self._plan = plan
        self._max_frame = max_frame
        self._patience = patience
        self._heartbeat = heartbeat
        self._credentials = credentials
        self._token = token
        self._given_loop = loop
        self._on_welcome = on_welcome
        self._position = position
        self._instance = uuid.uuid4().hex[:16]
        self._run = ""
        self._kept_out, self._kept_out_at = "", 0.0  # why another process has this one's place
        self._stream: ClientStream | None = None
        # Jitter keeps a cluster from dialling in step; it decides nothing that is computed.
        self._jitter = random.Random()

    def progress(self, data: bytes) -> None:
        """Tell the parent the latest progress; it is lost if the parent is away."""
        if self._stream is not None:
            self._stream.send(frames.progress(data))

    def serve(self) -> None:
        """Answer requests until the run is done.

        Raises:
            PeerRefused: if the parent does not admit this node.
            ParentFailed: if the parent says that the run has failed.
            RunFailed: if the parent is in another run now.
            LinkError: if the parent was away for longer than `patience`, broke the protocol, or
                is not who it should be.
        """
        with ExitStack() as stack:
            loop = self._given_loop or stack.enter_context(LinkLoop())
            self._serve(loop)

    def _serve(self, loop: LinkLoop) -> None:
        pause, away_since = FIRST_PAUSE_S, time.monotonic()
        said, said_at = "", 0.0
        while True:
            welcomed, reason = self._session(loop)
            if reason is None:
                return
            if welcomed:
                pause, away_since = FIRST_PAUSE_S, time.monotonic()
            if time.monotonic() - away_since > self._patience:
                raise no_parent(self._name, self._address, reason)
            nap = pause * self._jitter.uniform(0.5, 1.0)
            if reason != said or time.monotonic() - said_at > SAY_AGAIN_S:
                log.warning("no parent at %s yet: %s", self._address, reason)
                said, said_at = reason, time.monotonic()
            if not self._run and time.monotonic() - away_since < STARTING_S:
                until_listening(self._address, nap)
            else:
                time.sleep(nap)
            pause = min(2 * pause, LONGEST_PAUSE_S if self._run else FIRST_CONTACT_PAUSE_S)
            self._leave_if_twice(reason)

    def _leave_if_twice(self, reason: str) -> None:
        """See that a process that another one of its name has kept out does not outlast its run.

        Raises:
            RunFailed: the parent, which knew the other one, is gone.
        """
        now = time.monotonic()
        if self._run or reason == self._kept_out:
            self._kept_out_at = now
        elif self._kept_out and now - self._kept_out_at > OUTLASTED_S:
            raise RunFailed(
                f"{self._name} did not take part: {self._kept_out}, and the parent is gone",
                "Another process of this name took part in the run; one is enough.",
            )

    def _session(self, loop: LinkLoop) -> tuple[bool, str | None]:
        """Serve one stream; return whether there was a welcome, and why it ended (None: done)."""
        welcomed = False
        hello = frames.hello(
            self._name,
            run=self._run,
            model=self._model,
            plan=self._plan,
            instance=self._instance,
            position=self._position(),
            token=self._token,
        )
        options = client_options(self._max_frame, self._heartbeat)
        self._stream = stream = ClientStream(loop, self.responder.answer_step)
        try:
            for frame in stream.frames(self._address, options, self._credentials, hello):
                match frame.WhichOneof("kind"):
                    case "message":
                        stream.answer(self._answer(frame.message))
                    case "welcome":
                        self._welcome(frame.welcome)
                        welcomed = True
                    case "goodbye":
                        return welcomed, self._goodbye(frame.goodbye)
                    case kind:
                        raise ParentBreach(f"a frame of the kind {kind}")
            return welcomed, "the stream ended"
        except ParentBreach as error:
            raise LinkError(f"the parent at {self._address} sent {error}") from error
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:  # it would be again
                raise LinkError(
                    f"a frame between {self._name} and its parent at {self._address} is "
                    f"longer than the link allows: {error.details()}"
                ) from error
            return welcomed, self._explained(error.details() or error.code().name)
        finally:
            stream.close()

    def _answer(self, request: bytes) -> bytes:
        try:
            return self.responder.answer_message(request)
        except ValueError as error:
            raise ParentBreach(str(error)) from error

    def _explained(self, details: str) -> str:
        """Return why to dial again, or raise LinkError if that is useless.

        Whoever answers at a first contact without being the parent is there by a mistake in the
        configuration. One that answers later may pass: the parent was there before.
        """
        mistrust = self._credentials and self._credentials.mistrust(details)
        if mistrust and not self._run:
            raise mistrusted(self._name, self._address, mistrust)
        return mistrust or self._plain_to_tls(details)

    def _plain_to_tls(self, details: str) -> str:
        """Return why a stream broke, and whether it did because only the parent uses TLS."""
        if self._credentials is None and not self._run and speaks_tls(self._address):
            return f"the parent at {self._address} uses TLS: set security.certs here too"
        return details

    def _welcome(self, welcome: pb.Welcome) -> None:
        if self._run not in ("", welcome.run):
            raise RunFailed(
                f"the parent at {self._address} is in another run now",
                f"Start {self._name} again to take part in it.",
            )
        self._run = welcome.run
        self.context.node_id = welcome.node_id
        log.info("attached to %s as node %d", self._address, welcome.node_id)
        self._on_welcome(welcome)

    def _goodbye(self, goodbye: pb.Goodbye) -> str | None:
        """Return None if the run is done, why to dial again later, or raise."""
        reason = shortened(goodbye.reason)
        match goodbye.code:
            case pb.Goodbye.DONE:
                return None
            case pb.Goodbye.BUSY:
                if not self._run and reason == ATTACHED.format(name=self._name):
                    self._kept_out, self._kept_out_at = reason, time.monotonic()
                return reason
            case pb.Goodbye.BREACH:
                self.responder.forget()
                return reason
            case pb.Goodbye.FAILED:
                raise ParentFailed(reason)
            case _:
                raise refused(self._name, self._address, reason)


def until_listening(address: str, seconds: float) -> None:
    """Wait for so long, or until somebody listens at an address."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        with suppress(OSError):
            socket.create_connection(split(address), left).close()
            return
        time.sleep(min(left, LOOK_S))
