"""Who may attach: what a parent checks of a child's hello before it answers with a welcome."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import grpc.aio

from hierfl.config.digest import contrast, explain
from hierfl.errors import LinkError
from hierfl.link import frames
from hierfl.link import link_pb2 as pb
from hierfl.tls.identity import certified_name, expiring, shown_certificate
from hierfl.tls.revocation import RevocationList

log = logging.getLogger(__name__)

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"

BROKEN = (
    grpc.RpcError,
    grpc.aio.InternalError,
    grpc.aio.UsageError,
    asyncio.InvalidStateError,
)
"""What gRPC raises on a stream that is broken."""

LONGEST_NAME = 64
"""Characters of an unknown peer's name that are shown."""


ATTACHED = "{name} is attached already"
"""The reply to a child whose name is taken."""

LONGEST_HELLO = 1 << 20
"""Bytes of a hello; it holds the fingerprints of some keys and of each edge's devices."""


class Refusal(Exception):
    """A hello that is not answered with a welcome."""

    def __init__(self, reason: str, code: pb.Goodbye.Code = pb.Goodbye.REFUSED) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True)
class Admission:
    """What a child must say to be admitted.

    Attributes:
        children: the names of which it must have one.
        plan: the configuration's `Digest.to_text`; "" if any will do.
        model: fingerprint of the model; "" if any will do.
        token: the run's secret; "" if there is none.
        certified: whether it must have a certificate of its name.
        patience: seconds within which it must say it.
        revoked: whom it must not be; None: nobody.
    """

    children: Collection[str]
    plan: str
    model: str
    token: str
    certified: bool
    patience: float
    revoked: RevocationList | None = None

    async def hello(self, context: Context) -> pb.Hello:
        """Return the hello that opens a stream, or raise Refusal."""
        return self.first(await self._first(context), context)

    def first(self, data: bytes, context: Context) -> pb.Hello:
        """Return the hello that a first frame is, or raise Refusal."""
        if len(data) > LONGEST_HELLO:
            raise Refusal(f"its first frame has {len(data)} bytes")
        try:
            frame = frames.parse(data)
        except LinkError as error:
            raise Refusal(f"it sent {error}") from error
        if frame.WhichOneof("kind") != "hello":
            raise Refusal("the first frame is no hello")
        return self.admitted(frame.hello, context)

    def admitted(self, hello: pb.Hello, context: Context) -> pb.Hello:
        """Return a hello of a child that may attach, or raise Refusal."""
        if self.certified and (lie := contradiction(hello.name, context.auth_context())):
            raise Refusal(lie)
        self._check(hello)
        self._check_certificate(hello.name, context.auth_context())
        return hello

    def _check_certificate(self, name: str, auth: Mapping[str, Any]) -> None:
        """Refuse what is revoked; say in the log what expires soon."""
        shown = shown_certificate(auth)
        serial = None if shown is None else shown.serial_number
        try:
            revoked = self.revoked is not None and self.revoked.holds(name, serial)
        except LinkError as error:  # it may be there again
            log.error("%s", error)
            raise Refusal("this node cannot let anybody in now", pb.Goodbye.BUSY) from error
        if revoked:
            raise Refusal(f"the certificate of {name} is revoked")
        if shown is not None and (soon := expiring(shown)):
            log.warning("the certificate of %s %s", name, soon)

    async def _first(self, context: Context) -> bytes:
        try:
            data: Any = await asyncio.wait_for(context.read(), self.patience)
        except TimeoutError:
            raise Refusal("it did not say hello in time") from None
        except BROKEN:
            raise Refusal("the stream broke before its hello") from None
        if data is grpc.aio.EOF:
            raise Refusal("the stream ended before its hello")
        return bytes(data)

    def _check(self, hello: pb.Hello) -> None:
        if hello.protocol != frames.PROTOCOL:
            raise Refusal(
                f"{short(hello.name)} speaks version {hello.protocol} of the protocol, "
                f"this node version {frames.PROTOCOL}: install the same hierfl on both"
            )
        if not same_secret(hello.token, self.token):
            raise Refusal(f"{short(hello.name)} does not know the token of this run")
        if hello.name not in self.children:
            raise Refusal(f"no child of this node is called {short(hello.name)}")
        if hello.plan and self.plan and hello.plan != self.plan:
            keys = explain(hello.plan, self.plan)
            named = f" (it differs in {keys})" if keys else ""
            raise Refusal(
                f"{hello.name} has another configuration than this federation{named}: "
                "use the same topology file on all nodes"
            )
        if hello.model and self.model and hello.model != self.model:
            said = contrast(hello.model, self.model, hello.name)
            named = f" ({said})" if said else ""
            raise Refusal(
                f"{hello.name} has another model than this federation{named}: "
                "use the same topology file, hierfl and model code on all nodes"
            )


def same_secret(theirs: str, ours: str) -> bool:
    """Return whether two secrets are equal, in a time that does not tell how far they are."""
    return hmac.compare_digest(theirs.encode(errors="replace"), ours.encode())


def contradiction(name: str, auth: Mapping[str, Any]) -> str | None:
    """Return what is wrong if a peer's certificate, from `auth_context()`, has another name."""
    certified = certified_name(auth)
    if certified == name:
        return None
    return f"it says it is {short(name)}, and its certificate says {short(certified or '')}"


def short(name: str) -> str:
    """Return how a name is shown that has not been checked yet."""
    return repr(name if len(name) <= LONGEST_NAME else name[:LONGEST_NAME] + "...")
