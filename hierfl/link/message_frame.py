"""The frame of a Flower message, in two parts: what is one child's own, and what several share."""

from __future__ import annotations

from dataclasses import dataclass

from hierfl.link import link_pb2 as pb

_MESSAGE_FIELD = pb.Frame.DESCRIPTOR.fields_by_name["message"].number
_LENGTH_DELIMITED = 2


@dataclass(frozen=True, slots=True)
class MessageFrame:
    """A frame that is put together only when it is sent.

    A serialized protobuf message is the concatenation of its fields: the content, which is all but
    a hundred bytes of it, comes last, and is in memory once for all children that are sent it.

    Attributes:
        head: the frame's first bytes.
        content: its last ones.
    """

    head: bytes
    content: bytes

    @classmethod
    def of(cls, metadata: bytes, content: bytes) -> MessageFrame:
        """Return the frame of a message.

        Args:
            metadata: the message's first fields, serialized.
            content: its last one, as `flower_compat.content_to_bytes` returns it.
        """
        return cls(key(_MESSAGE_FIELD, len(metadata) + len(content)) + metadata, content)

    def __len__(self) -> int:
        return len(self.head) + len(self.content)

    def __bytes__(self) -> bytes:
        return self.head + self.content


def key(field: int, length: int) -> bytes:
    """Return the protobuf key and length that precede a length-delimited field."""
    return _varint(field << 3 | _LENGTH_DELIMITED) + _varint(length)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
