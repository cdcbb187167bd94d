"""Flower messages to frames; a content that several messages share is serialized once."""

from __future__ import annotations

from flwr.app import Message, RecordDict

from hierfl.link import frames
from hierfl.link.flower_compat import content_to_bytes, message_to_bytes


class Serializer:
    """Serializes the messages of one batch; their contents must not change meanwhile."""

    def __init__(self) -> None:
        # The contents themselves are kept, so that no id names another object meanwhile.
        self._done: dict[int, tuple[RecordDict, bytes, int]] = {}

    def frame(self, message: Message) -> tuple[bytes, int]:
        """Return a message's frame, and how many of its bytes are payload."""
        content = message.content
        if id(content) not in self._done:
            done = content, content_to_bytes(content), frames.payload_bytes(content)
            self._done[id(content)] = done
        _, body, payload = self._done[id(content)]
        return frames.message(message_to_bytes(message, body)), payload
