"""Checkpoints: what is read is what was written, or nothing."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hierfl.errors import CheckpointError
from hierfl.protocol.checkpoint import Checkpoint, Checkpoints, from_bytes, to_bytes

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=9)
ARRAYS = st.dictionaries(
    NAMES.filter(lambda name: name != "__metadata__"),
    st.sampled_from([np.float32, np.uint8, np.int64]).flatmap(
        lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, min_side=0))
    ),
    max_size=3,
)
FACTS = st.dictionaries(
    NAMES,
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | NAMES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)
STATE = Checkpoint("run", 4, {"w": np.arange(3, dtype=np.float32)}, {"lr": 7})


@given(NAMES, st.integers(0, 10**9), ARRAYS, FACTS)
def test_what_is_written_is_read(run, round_, arrays, facts) -> None:  # type: ignore[no-untyped-def]
    with TemporaryDirectory() as folder:
        files = Checkpoints(Path(folder), "node")
        files.write(Checkpoint(run, round_, arrays, facts))
        read = files.last()
    assert read is not None
    assert (read.run, read.round, read.facts) == (run, round_, json.loads(json.dumps(facts)))
    assert read.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        assert read.arrays[name].dtype == array.dtype and read.arrays[name].shape == array.shape
        assert read.arrays[name].tobytes() == array.tobytes()


def test_every_flipped_bit_and_every_cut_is_found() -> None:
    data = to_bytes(STATE)
    for at in range(len(data)):
        with pytest.raises(CheckpointError):
            from_bytes(data[:at])
        for bit in range(8):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            with pytest.raises(CheckpointError, match="damaged"):
                from_bytes(bytes(damaged))
    with pytest.raises(CheckpointError):
        from_bytes(data + b"\0")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    files, other = Checkpoints(tmp_path, "east"), Checkpoints(tmp_path, "east-1")
    other.write(STATE)
    for round_ in range(1, 6):
        files.write(replace(STATE, round=round_))
        assert files.rounds() == [round_ - 1, round_][-min(round_, 2) :]
    assert names(tmp_path) == ["east-1.4.state", "east.4.state", "east.5.state"]


def test_going_back_drops_what_comes_after(tmp_path: Path) -> None:
    files = Checkpoints(tmp_path, "east")
    for round_ in (4, 5, 4):
        files.write(replace(STATE, round=round_))
    assert files.rounds() == [4]


def test_the_last_whole_one_is_read_and_the_damaged_one_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = Checkpoints(tmp_path, "east")
    for round_ in (3, 4):
        files.write(replace(STATE, round=round_))
    newest = tmp_path / "east.4.state"
    newest.write_bytes(newest.read_bytes()[:-1])
    last = files.last()
    assert last is not None and last.round == 3
    assert files.read(4) is None and files.rounds() == [3, 4]
    assert f"{newest} is of no use: it is damaged (its checksum is wrong)" in caplog.messages
    files.write(STATE)
    assert files.last() is not None and files.rounds() == [3, 4]


def test_a_file_under_another_s_name_is_of_no_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = Checkpoints(tmp_path, "east")
    files.write(STATE)
    (tmp_path / "east.4.state").rename(tmp_path / "east.5.state")
    assert files.last() is None
    assert "it is of round 4" in caplog.text


def test_a_write_that_was_cut_off_is_ignored_and_does_not_stay(tmp_path: Path) -> None:
    files = Checkpoints(tmp_path, "east")
    files.write(STATE)
    part = tmp_path / "east.part"
    part.write_bytes(to_bytes(replace(STATE, round=5))[:50])
    assert files.rounds() == [4] and files.last() is not None
    files.write(replace(STATE, round=5))
    assert names(tmp_path) == ["east.4.state", "east.5.state"]
    part.write_bytes(b"cut off")
    files.clear()
    assert names(tmp_path) == []


def test_clear_leaves_the_others(tmp_path: Path) -> None:
    files, other = Checkpoints(tmp_path, "east"), Checkpoints(tmp_path, "east.1")
    files.write(STATE)
    other.write(STATE)
    files.clear()
    assert files.last() is None and other.last() is not None


def test_what_cannot_be_written_leaves_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Checkpoints(tmp_path, "east")
    files.write(STATE)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"cannot write .*east\.5\.state: No space left") as e:
        files.write(replace(STATE, round=5))
    assert e.value.hint is not None and "last good checkpoint is kept" in e.value.hint
    assert names(tmp_path) == ["east.4.state"]
    last = files.last()
    assert last is not None and last.round == 4


def test_there_is_none_in_no_folder(tmp_path: Path) -> None:
    files = Checkpoints(tmp_path / "none", "east")
    assert files.last() is None and files.read(1) is None and files.rounds() == []
    files.clear()
