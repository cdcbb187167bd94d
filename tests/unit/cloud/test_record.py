"""metrics.jsonl after a crash of the cloud: every round that is done has its line, once."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloud.record import Record
from cloud.result import RoundResult
from cloud.views.base import View
from hierfl.config import load_config
from hierfl.learning.loaded import load_data
from hierfl.learning.setup import make_model
from hierfl.link.traffic import Traffic
from hierfl.planning.plan import make_plan, resolve

CONFIG = resolve(load_config(None, ["data.dataset=digits", "model=mlp"]))
MODEL = make_model(CONFIG, load_data(CONFIG))
PLAN = make_plan(CONFIG, MODEL.layout, MODEL.buffer_layout.d)
NOTHING = Traffic.from_list([])
WHOLE = [json.dumps({"round": round_, "wall_s": 2.0 * round_}) + "\n" for round_ in range(1, 4)]


def result(round_: int) -> RoundResult:
    return RoundResult(round_, 0.1, 0.5, {"east": 3}, {"east": 1.0}, NOTHING, NOTHING)


@contextmanager
def no_byte_can_be_written() -> Iterator[None]:
    """As for a process that is killed before its first write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("tail", ["", WHOLE[2], WHOLE[2][:9], WHOLE[2].strip(), "\0\0\0"])
def test_what_is_done_stays_and_the_rest_goes_without_a_byte_written(
    tail: str, tmp_path: Path
) -> None:
    (tmp_path / "metrics.jsonl").write_text("".join(WHOLE[:2]) + tail)
    record = Record(CONFIG, PLAN, MODEL, tmp_path, View())
    with no_byte_can_be_written():
        assert record.go_on(result(2)) is None
    assert (tmp_path / "metrics.jsonl").read_text() == "".join(WHOLE[:2])


@pytest.mark.parametrize("tail", ["", WHOLE[2].strip()])
def test_the_last_round_is_evaluated_again_where_its_line_is_missing_or_cut_off(
    tail: str, tmp_path: Path
) -> None:
    (tmp_path / "metrics.jsonl").write_text("".join(WHOLE[:2]) + tail)
    record = Record(CONFIG, PLAN, MODEL, tmp_path, View())
    assert record.go_on(result(3)) == result(3)
    assert (tmp_path / "metrics.jsonl").read_text() == "".join(WHOLE[:2])


GARBAGE = b"\x00\xff{[\n"


@pytest.mark.parametrize(
    ("text", "kept", "missing"),
    [
        (WHOLE[0] + "garbage\n" + WHOLE[2], [1, 3], 1),
        ("garbage\n" * 3, [], 2),  # the last one is evaluated again
        (WHOLE[0] + WHOLE[0] + WHOLE[1] + WHOLE[2], [1, 2, 3], 0),
        (WHOLE[1] + WHOLE[0] + WHOLE[2], [2, 3], 1),
        (WHOLE[0] + '{"round": true, "wall_s": 1}\n[1]\n{"round": 2}\n' + WHOLE[2], [1, 3], 1),
        ("[" * 100_000 + "\n" + "".join(WHOLE), [1, 2, 3], 0),
        ("", [], 2),
    ],
)
def test_of_damaged_metrics_what_is_whole_stays(
    text: str, kept: list[int], missing: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(text)
    record = Record(CONFIG, PLAN, MODEL, tmp_path, View())
    again = record.go_on(result(3))
    assert [json.loads(line)["round"] for line in file.read_text().splitlines()] == kept
    assert (again is None) == (3 in kept)
    assert record._missing == missing
    if text:
        assert f"{file} is damaged" in caplog.text or not kept
    damaged = tmp_path / "metrics.damaged.jsonl"
    assert not damaged.exists() or damaged.read_text() == text
