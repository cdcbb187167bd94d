"""Flower messages to frames; a content that several messages share is serialized once."""

from __future__ import annotations

from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict

from hierfl.link.flower_compat import content_to_bytes, metadata_to_bytes
from hierfl.link.message_frame import MessageFrame


class Serializer:
    """Serializes the messages of one batch; their contents must not change meanwhile."""

    def __init__(self) -> None:
        # The contents themselves are kept, so that no id names another object meanwhile.
        self._done: dict[int, tuple[RecordDict, bytes, int]] = {}

    def frame(self, message: Message) -> tuple[MessageFrame, int]:
        """Return a message's frame, and how many of its bytes are payload."""
        content = message.content
        if id(content) not in self._done:
            done = content, content_to_bytes(content), payload_bytes(content)
            self._done[id(content)] = done
        _, body, payload = self._done[id(content)]
        return MessageFrame.of(metadata_to_bytes(message), body), payload


def payload_bytes(content: RecordDict) -> int:
    """Return the payload in a message's content, in bytes (see `hierfl.link.traffic`)."""
    total = 0
    for record in content.values():
        if isinstance(record, ConfigRecord):
            for value in record.values():
                if isinstance(value, bytes):
                    total += len(value)
                elif isinstance(value, list) and value and isinstance(value[0], bytes):
                    total += sum(len(item) for item in value if isinstance(item, bytes))
        elif isinstance(record, ArrayRecord):
            total += sum(len(array.data) for array in record.values())
    return total
