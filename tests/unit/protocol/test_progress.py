"""What an edge tells the cloud: typed at both ends, and refused where it is no progress."""

from __future__ import annotations

import pytest

from hierfl.errors import PayloadError
from hierfl.protocol.progress import DevicesAttached, Progress, StepDone, from_json, to_json

EVERY: list[Progress] = [
    DevicesAttached(3, 3),
    DevicesAttached(1, 3, ("pi-1", "pi-2")),
    StepDone(2, 15, 23.5, 3, 1 << 40),
]


@pytest.mark.parametrize("progress", EVERY)
def test_it_comes_back_as_it_was(progress: Progress) -> None:
    assert from_json(to_json(progress)) == progress


def test_the_bytes_are_those_of_old() -> None:
    assert to_json(StepDone(1, 2, 0.5, 3, 4)) == (
        b'{"round": 1, "step": 2, "steps_per_s": 0.5, "voters": 3, "payload": 4}'
    )


STEP = b'{"round": 1, "step": %s, "steps_per_s": %s, "voters": 1, "payload": 1}'


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"3", b"null", b"\xff", b"[" * 5000,
        b'{"devices": "x", "of": 1, "missing": []}',
        b'{"round": 1}', b'{"devices": 1}', b'{"devices": 1, "of": 1, "missing": [], "more": 1}',
        b'{"devices": true, "of": 1, "missing": []}', b'{"devices": -1, "of": 1, "missing": []}',
        b'{"devices": 1.0, "of": 1, "missing": []}',
        b'{"devices": 1, "of": 2, "missing": "x"}', b'{"devices": 1, "of": 2, "missing": [1]}',
        b'{"devices": 1, "of": 2, "missing": [["x"]]}',
        STEP % (b"NaN", b"1"), STEP % (b"1", b"Infinity"), STEP % (b"1", b"-0.5"),
        STEP % (b"9" * 30, b"1"),
    ],
)  # fmt: skip
def test_what_is_no_progress_is_refused(data: bytes) -> None:
    with pytest.raises(PayloadError):
        from_json(data)
