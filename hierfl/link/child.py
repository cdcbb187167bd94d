"""A child's side of the conversation: any Flower `ClientApp`, asked and answering in bytes."""

from __future__ import annotations

import logging

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from hierfl.errors import HierflError
from hierfl.ledger import Count
from hierfl.link import envelope
from hierfl.link.flower import error_reply, message_from_bytes, message_to_bytes

log = logging.getLogger(__name__)


class Child:
    """Answers requests with a ClientApp, each once.

    A request that comes again, because its reply was lost on the way, gets the same answer from
    memory. There is one request in flight at a time, so the last answer is all that is kept.
    """

    def __init__(self, app: ClientApp, context: Context) -> None:
        self.sent = Count()
        self._app = app
        self._context = context
        self._last: tuple[str, bytes] | None = None

    def answer(self, data: bytes) -> bytes:
        """Return the frame that answers a request.

        An exception of the app becomes an error reply, as on Flower's own engine.

        Raises:
            ValueError: if `data` is no Flower message.
        """
        request = message_from_bytes(data)
        message_id = request.metadata.message_id
        if self._last is None or self._last[0] != message_id:
            reply = self._run(request)
            frame = envelope.message(message_to_bytes(reply))
            payload = envelope.payload_bytes(reply.content) if reply.has_content() else 0
            self.sent.add(payload, len(frame))
            self._last = message_id, frame
        return self._last[1]

    def _run(self, request: Message) -> Message:
        try:
            return self._app(request, self._context)
        except HierflError as error:
            log.error("%s", error)
            return error_reply(request, str(error))
        except Exception as error:  # whatever the app raises is an answer, as in Flower
            log.exception("the app failed on a message of type %s", request.metadata.message_type)
            return error_reply(request, f"{type(error).__name__}: {error}")
