"""A frame in two parts is the frame that protobuf makes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hierfl.link import frames
from hierfl.link.message_frame import MessageFrame


@given(
    st.binary(max_size=300),
    st.sampled_from([0, 1, 100, 127, 128, 16_383, 16_384, 1 << 21]),
    st.integers(-3, 3),
)
def test_it_is_the_frame_that_protobuf_makes(metadata: bytes, size: int, more: int) -> None:
    content = bytes(max(0, size + more))
    frame = MessageFrame.of(metadata, content)
    assert bytes(frame) == frames.message(metadata + content)
    assert len(frame) == len(bytes(frame))
    assert frame.content is content
