"""A child's answers to Flower messages: any Flower `ClientApp`, asked and answering in bytes."""

from __future__ import annotations

import logging

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from hierfl.errors import HierflError
from hierfl.link import frames
from hierfl.link.flower_compat import error_reply, message_from_bytes, message_to_bytes
from hierfl.link.serializer import payload_bytes
from hierfl.link.traffic import Count

log = logging.getLogger(__name__)


class AppRunner:
    """Answers requests with a ClientApp, each once.

    A request that comes again, because its reply was lost on the way, gets the same answer from
    memory. There is one request in flight at a time, so the last answer is all that is kept.

    Args:
        app: what answers.
        context: the app's.
        sent: counts the answers.
    """

    def __init__(self, app: ClientApp, context: Context, sent: Count) -> None:
        self._app = app
        self._context = context
        self._sent = sent
        self._last: tuple[str, bytes] | None = None

    def answer(self, data: bytes) -> bytes:
        """Return the frame that answers a request.

        An exception of the app becomes an error reply, as on Flower's own engine.

        Raises:
            ValueError: if `data` is no Flower message with a content.
        """
        request = message_from_bytes(data)
        if not request.has_content():
            raise ValueError("a request without a content")
        message_id = request.metadata.message_id
        if self._last is None or self._last[0] != message_id:
            payload, frame = self._run(request)
            self._sent.add(payload, len(frame))
            self._last = message_id, frame
        return self._last[1]

    def forget(self) -> None:
        """Forget the last answer: the request that it answered is worked on anew."""
        self._last = None

    def _run(self, request: Message) -> tuple[int, bytes]:
        """Return the reply's payload, in bytes, and the frame that carries it."""
        try:
            reply: object = self._app(request, self._context)
            if not isinstance(reply, Message):
                raise TypeError(f"the app returned a {type(reply).__name__}, not a Message")
            if reply.metadata.reply_to_message_id != request.metadata.message_id:
                raise ValueError("what the app returned is no reply to its message")
            return _framed(reply)
        except Exception as error:  # whatever the app raises is an answer, as in Flower
            what = f"a message of type {request.metadata.message_type}"
            return _framed(error_reply(request, failure(error, what)))


def failure(error: Exception, what: str) -> str:
    """Log why a request could not be answered; return the reason that goes to the parent."""
    if isinstance(error, HierflError):
        log.error("%s", error)
        return f"{error} ({error.hint})" if error.hint else str(error)
    log.error("the app failed on %s", what, exc_info=error)
    return f"{type(error).__name__}: {error}"


def _framed(reply: Message) -> tuple[int, bytes]:
    payload = payload_bytes(reply.content) if reply.has_content() else 0
    return payload, frames.message(message_to_bytes(reply))
