"""What a parent would say to a child's hello, and what time it is there; nobody is attached by it.

The parent answers as it would a hello, by the same checks. So a node can find out, before its run
or in the middle of another's, whether it would be let in.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import grpc

from hierfl.errors import LinkError, shortened
from hierfl.link import link_pb2 as pb
from hierfl.link.channel_options import HEARTBEAT_S, client_options
from hierfl.tls.identity import Towards, dial

METHOD = "/hierfl.link.v1.Link/Ask"
LONGEST_VERDICT = 1 << 16


@dataclass(frozen=True)
class Verdict:
    """What a parent has answered.

    Attributes:
        code: of the goodbye that a hello would get; UNSPECIFIED if it would be welcome.
        reason: the parent's words.
        ahead: seconds by which the parent's clock is ahead of this machine's.
        unsure: seconds by which `ahead` may be wrong: half the time that the answer took.
    """

    code: pb.Goodbye.Code
    reason: str
    ahead: float
    unsure: float


def verdict(code: pb.Goodbye.Code = pb.Goodbye.UNSPECIFIED, reason: str = "") -> bytes:
    """Return the parent's answer."""
    return pb.Verdict(code=code, reason=reason, time=time.time()).SerializeToString()


def ask(address: str, hello: bytes, timeout: float, towards: Towards | None = None) -> Verdict:
    """Ask a parent.

    Args:
        address: "host:port" of the parent.
        hello: the frame that a child would send first.
        timeout: seconds for it all.
        towards: this node's identity on its way to the parent; None: plain text.

    Raises:
        LinkError: if the parent does not answer, or is not trusted.
    """
    deadline = time.monotonic() + timeout
    with dial(address, client_options(LONGEST_VERDICT, HEARTBEAT_S), towards, grpc) as channel:
        call = channel.unary_unary(METHOD, response_deserializer=pb.Verdict.FromString)
        try:
            call(hello, timeout=timeout)  # the first one also opens the connection
            asked = time.time()
            answer = call(hello, timeout=max(0.1, deadline - time.monotonic()))
            heard = time.time()
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNIMPLEMENTED:
                raise LinkError(f"who answers at {address} is no parent of this version") from None
            details = error.details() or error.code().name
            raise LinkError((towards and towards.mistrust(details)) or details) from None
    ahead = answer.time - (asked + heard) / 2
    return Verdict(answer.code, shortened(answer.reason), ahead, (heard - asked) / 2)
