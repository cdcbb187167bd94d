"""Checkpoints: what is read is what was written, or nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hierfl.errors import CheckpointError, PayloadError
from hierfl.process import patience
from hierfl.protocol.checkpoint import Checkpoint, Json, from_bytes, to_bytes
from hierfl.protocol.checkpoint_files import Checkpoints
from hierfl.protocol.checkpoint_store import CheckpointStore

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
    files.finish()
    files.remove_finished()
    assert not tmp_path.exists()


# -- runs -----------------------------------------------------------------------------------------

CONFIG: dict[str, Json] = {"seed": 1, "algorithm": {"lr": 0.1}}


def wrote(folder: Path, name: str, run: str) -> Checkpoints:
    files = CheckpointStore(folder, name, CONFIG).enter(run)
    files.write(replace(STATE, run=run))
    return files


def test_another_run_s_state_stays(tmp_path: Path) -> None:
    first = wrote(tmp_path, "east", "one")
    second = wrote(tmp_path, "east", "two")
    assert first.last() is not None and second.last() is not None
    again = CheckpointStore(tmp_path, "east").enter("one").last()
    assert again is not None and (again.run, again.config) == ("one", CONFIG)


def test_what_is_left_of_a_finished_run_goes_when_the_node_is_in_another(tmp_path: Path) -> None:
    first, other = wrote(tmp_path, "east", "one"), wrote(tmp_path, "east.1", "one")
    first.finish()
    assert first.last() is not None, "its parent may yet have to go on with it"
    wrote(tmp_path, "east", "two")
    assert first.last() is None and other.last() is not None
    other.finish()
    wrote(tmp_path, "east.1", "two")
    assert names(tmp_path) == ["two"]


def test_a_run_that_goes_on_after_all_is_not_finished(tmp_path: Path) -> None:
    first = wrote(tmp_path, "east", "one")
    first.finish()
    wrote(tmp_path, "east", "one")
    wrote(tmp_path, "east", "two")
    assert first.last() is not None


def test_the_current_run_is_the_last_that_is_whole(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, "cloud")
    assert store.current() is None and store.runs() == []
    for when, run in enumerate(("b", "a", "c")):
        wrote(tmp_path, "cloud", run)
        os.utime(tmp_path / run / "cloud.4.state", (when, when))
    (tmp_path / "c" / "cloud.4.state").write_bytes(b"")
    os.utime(tmp_path / "c" / "cloud.4.state", (9, 9))
    assert store.runs() == ["c", "a", "b"] and store.current() == "a"
    store.run("a").set_aside()
    assert store.current() == "b" and names(tmp_path / "a") == ["cloud.4.damaged"]


@pytest.mark.parametrize("run", ["", ".", "..", "../east", "a/b", "/etc", "x" * 65, "a\n", "ä"])
def test_a_run_s_identifier_is_no_way_out_of_the_folder(run: str, tmp_path: Path) -> None:
    with pytest.raises(PayloadError, match="as a run's identifier"):
        CheckpointStore(tmp_path, "east").enter(run)


def test_a_file_of_another_run_is_of_no_use(tmp_path: Path) -> None:
    files = wrote(tmp_path, "east", "one")
    (tmp_path / "one" / "east.5.state").write_bytes(to_bytes(replace(STATE, run="two", round=5)))
    last = files.last()
    assert last is not None and last.round == 4 and files.whole() == [4]


def test_only_the_owner_can_look_at_it(tmp_path: Path) -> None:
    wrote(tmp_path / "state", "east", "one")
    assert (tmp_path / "state" / "one").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / "one" / "east.4.state").stat().st_mode & 0o777 == 0o600


# -- what is no file, and what is not what a node needs -------------------------------------------


@pytest.mark.parametrize("name", ["east.5.state", "east.part"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/full")])
def test_what_is_no_file_is_not_waited_for(make, name: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    files = Checkpoints(tmp_path, "east")
    files.write(STATE)
    make(tmp_path / name)
    last = files.last()
    assert last is not None and last.round == 4
    try:
        files.write(replace(STATE, round=5))
    except CheckpointError as error:
        assert "cannot write" in error.message and (tmp_path / name).is_dir()
        assert files.whole() == [4]
    else:
        assert files.whole() == [4, 5]


def test_what_is_asked_of_a_checkpoint_is_there_or_it_is_refused() -> None:
    kept = Checkpoint("run", 4, {"w": np.zeros(3, np.float32)}, {"lr": 7, "on": True, "n": [1, 2]})
    assert kept.array("w", np.float32, (3,)).shape == (3,) and kept.counts("n") == [1, 2]
    wrong: list[Callable[[], object]] = [
        lambda: kept.array("v", np.float32), lambda: kept.array("w", np.float32, (2,)),
        lambda: kept.array("w", np.uint8), lambda: kept.fact("on", int),
        lambda: kept.fact("lr", bool), lambda: kept.fact("none", int), lambda: kept.counts("lr"),
        lambda: kept.arrays_like("state", {"m": np.zeros(3)}),
        lambda: replace(kept, facts={"n": [1, None]}).counts("n"),
    ]  # fmt: skip
    for ask in wrong:
        with pytest.raises(CheckpointError, match=r"its (fact|array) |it has no array"):
            ask()


def test_the_one_before_is_taken_where_the_last_cannot_be_used(tmp_path: Path) -> None:
    files = Checkpoints(tmp_path, "east")
    for round_ in (4, 5):
        files.write(replace(STATE, round=round_))
    taken: list[int] = []

    def restore(kept: Checkpoint) -> None:
        if kept.round == 5:
            kept.fact("none", int)
        taken.append(kept.round)

    assert files.restore_last(restore) and taken == [4]
    assert not files.restore(5, restore)


def test_what_cannot_be_written_leaves_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Checkpoints(tmp_path, "east")
    files.write(STATE)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(patience, "PATIENCE_S", 0.0)
    with pytest.raises(CheckpointError, match=r"cannot write .*east\.5\.state: No space left") as e:
        files.write(replace(STATE, round=5))
    assert e.value.hint is not None and "last good checkpoint is kept" in e.value.hint
    assert names(tmp_path) == ["east.4.state"]
    last = files.last()
    assert last is not None and last.round == 4


def test_there_is_none_in_no_folder(tmp_path: Path) -> None:
    files = Checkpoints(tmp_path / "none", "east")
    assert files.last() is None and files.read(1) is None and files.rounds() == []
    files.finish()
    files.remove_finished()
