"""Frames: what travels on a stream, to bytes and back, and how large one may be."""

from __future__ import annotations

from hierfl.errors import LinkError
from hierfl.link import link_pb2 as pb

PROTOCOL = 3
"""The version of the protocol. Peers of different versions do not talk."""

METHOD = "/hierfl.link.v1.Link/Attach"

FRAMING = 64 * 1024
"""Bytes that a frame may have on top of its payload: far more than any real one has."""


def frame_limit(payload: int) -> int:
    """Return the longest frame, in bytes, where no payload is longer than `payload` bytes."""
    return payload + FRAMING


def hello(
    name: str,
    *,
    run: str,
    model: str,
    plan: str,
    instance: str = "",
    position: tuple[int, int] = (0, 0),
    token: str = "",
) -> bytes:
    """Return a child's first frame."""
    body = pb.Hello(
        name=name,
        protocol=PROTOCOL,
        run=run,
        model=model,
        plan=plan,
        instance=instance,
        round=position[0],
        applied=position[1],
        token=token,
    )
    return pb.Frame(hello=body).SerializeToString()


def welcome(*, run: str, node_id: int, model: str, max_frame: int) -> bytes:
    """Return the parent's answer to a child that it admits."""
    body = pb.Welcome(run=run, node_id=node_id, model=model, max_frame=max_frame)
    return pb.Frame(welcome=body).SerializeToString()


def message(data: bytes) -> bytes:
    """Return the frame that carries a serialized Flower message."""
    return pb.Frame(message=data).SerializeToString()


def progress(data: bytes) -> bytes:
    """Return the frame that carries a child's progress."""
    return pb.Frame(progress=data).SerializeToString()


def goodbye(code: pb.Goodbye.Code, reason: str) -> bytes:
    """Return the last frame of a stream."""
    return pb.Frame(goodbye=pb.Goodbye(code=code, reason=reason)).SerializeToString()


def step_request(request: pb.StepRequest) -> bytes:
    """Return the frame that asks for a vote."""
    return pb.Frame(step_request=request).SerializeToString()


def step_answer(answer: pb.Ballot | pb.OutOfSync | pb.Failure) -> bytes:
    """Return the frame that answers a `StepRequest`."""
    match answer:
        case pb.Ballot():
            frame = pb.Frame(ballot=answer)
        case pb.OutOfSync():
            frame = pb.Frame(out_of_sync=answer)
        case _:
            frame = pb.Frame(failure=answer)
    return frame.SerializeToString()


def parse(data: bytes) -> pb.Frame:
    """Parse a frame.

    Raises:
        LinkError: if the bytes are no frame, or one of no known kind.
    """
    try:
        frame = pb.Frame.FromString(data)
    except Exception as error:  # protobuf's DecodeError has no common public base
        raise LinkError(f"{len(data)} bytes that are no frame") from error
    if frame.WhichOneof("kind") is None:
        raise LinkError(f"a frame of no known kind, {len(data)} bytes")
    return frame


def step_payload(body: pb.StepRequest | pb.Ballot | pb.OutOfSync | pb.Failure) -> int:
    """Return the payload in a step's frame, in bytes (see `hierfl.link.traffic`)."""
    match body:
        case pb.Ballot():
            return len(body.ballot) + len(body.buffers)
        case pb.StepRequest():
            return sum(map(len, body.decisions)) + len(body.opening)
    return 0
