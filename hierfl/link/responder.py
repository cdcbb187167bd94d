"""A child's answers to all that its parent asks: Flower messages, and the requests of steps."""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import Context
from flwr.clientapp import ClientApp

from hierfl.link import frames
from hierfl.link import link_pb2 as pb
from hierfl.link.app_runner import AppRunner, failure
from hierfl.link.traffic import Count

Vote = Callable[[pb.StepRequest], pb.Ballot | pb.OutOfSync]
"""What a device answers to a step's request. What it raises is a failure of the device."""


class Responder:
    """Answers frames, each request once: one that comes again gets the same answer from memory.

    Args:
        app: answers Flower messages.
        context: the app's.
        vote: answers steps; None at a node that is asked for none.

    Attributes:
        sent: counts the answers.
    """

    def __init__(self, app: ClientApp, context: Context, vote: Vote | None = None) -> None:
        self.sent = Count()
        self._runner = AppRunner(app, context, self.sent)
        self._vote = vote
        self._last: tuple[pb.StepRequest, bytes] | None = None

    def answer(self, frame: pb.Frame) -> bytes:
        """Return the frame that answers a frame.

        Raises:
            ValueError: if the frame is no request, or one that no parent of this node may send.
        """
        match frame.WhichOneof("kind"):
            case "message":
                return self.answer_message(frame.message)
            case "step_request":
                return self.answer_step(frame.step_request)
            case kind:
                raise ValueError(f"a frame of the kind {kind}")

    def answer_message(self, data: bytes) -> bytes:
        """Return the frame that answers a Flower message; see `answer`.

        It may take the node back to a round's start: no step that was answered counts as answered.
        """
        self._last = None
        return self._runner.answer(data)

    def answer_step(self, request: pb.StepRequest) -> bytes:
        """Return the frame that answers a step's request; see `answer`."""
        if self._vote is None:
            raise ValueError("a frame of the kind step_request")
        if self._last is None or not _same(self._last[0], request):
            answer = _voted(self._vote, request)
            frame = frames.step_answer(answer)
            self.sent.add(frames.step_payload(answer), len(frame))
            self._last = request, frame
        return self._last[1]

    def forget(self) -> None:
        """Forget the answers given: what is asked again is worked on anew."""
        self._last = None
        self._runner.forget()


def _voted(vote: Vote, request: pb.StepRequest) -> pb.Ballot | pb.OutOfSync | pb.Failure:
    try:
        return vote(request)
    except Exception as error:  # the edge is told, and goes on without this device
        reason = failure(error, f"round {request.round}, step {request.step}")
        return pb.Failure(reason=reason.encode(errors="replace").decode())


def _same(one: pb.StepRequest, other: pb.StepRequest) -> bool:
    return (one.step, one.round) == (other.step, other.round) and one == other
