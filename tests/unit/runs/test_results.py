"""Run folders are read back: whole, unfinished, damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hierfl.config import make_config
from hierfl.errors import ConfigError
from hierfl.runs.results import Metrics, load_run

LINKS = ("device_up", "device_down", "edge_up", "edge_down")


def row(round_: int, **more: object) -> dict[str, object]:
    sent = {link: 600 * round_ for link in LINKS}
    return {"round": round_, "steps": 5 * round_, "wall_s": 0.5 * round_, "bytes": sent, **more}


def folder(tmp_path: Path, rows: list[dict[str, object]], summary: object = None) -> Path:
    config = make_config({"name": "attic", "edges": [{"name": "east", "devices": 3}]})
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    if summary is not None:
        (tmp_path / "summary.json").write_text(json.dumps(summary))
    return tmp_path


def test_a_run_in_progress(tmp_path: Path) -> None:
    run = load_run(folder(tmp_path, [row(1, accuracy=0.5), row(2), row(3, accuracy=0.75)]))
    assert run.summary is None
    assert (run.devices, run.config.name, run.damaged) == (3, "attic", ())
    assert run.metrics.names() == ["round", "steps", "wall_s", "accuracy"]
    assert run.metrics.column("accuracy") == [0.5, None, 0.75]
    assert run.bytes == {link: 1800 for link in LINKS}


def test_a_curve_has_the_rounds_in_which_there_is_a_value(tmp_path: Path) -> None:
    run = load_run(folder(tmp_path, [row(1, accuracy=0.5), row(2), row(3, accuracy=0.75)]))
    assert run.curve("round", "accuracy") == ([1, 3], [0.5, 0.75])
    assert run.curve("bytes", "accuracy") == ([400, 1200], [0.5, 0.75])
    assert run.curve("bytes_all", "accuracy")[0] == [2400, 7200]
    assert run.curve("wall_s", "accuracy")[0] == [0.5, 1.5]


def test_the_bytes_of_a_run_that_is_done_are_the_summarys(tmp_path: Path) -> None:
    sent = dict.fromkeys(LINKS, 7)
    assert load_run(folder(tmp_path, [row(1)], {"bytes": sent})).bytes == sent


@pytest.mark.parametrize("line", ["{", '{"round": 2}', "[]", "null", "\x00\x01", "[" * 100_000])
def test_damaged_lines_are_named_and_left_out(tmp_path: Path, line: str) -> None:
    metrics = folder(tmp_path, [row(1), row(3)]) / "metrics.jsonl"
    first, second = metrics.read_text().splitlines()
    metrics.write_text(f"{first}\n{line}\n{second}\n")
    run = load_run(tmp_path)
    assert [one["round"] for one in run.metrics] == [1, 3]
    assert run.damaged == ("line 2 of metrics.jsonl is damaged and is left out",)


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_damaged_summary_is_said_to_be(tmp_path: Path, text: str) -> None:
    (folder(tmp_path, [row(1)]) / "summary.json").write_text(text)
    with pytest.raises(ConfigError, match=r"summary\.json is damaged"):
        load_run(tmp_path)


def test_what_is_no_run_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no run folder"):
        load_run(tmp_path)


def test_a_configuration_of_another_version_is_refused_in_one_line(tmp_path: Path) -> None:
    (folder(tmp_path, [row(1)]) / "config.yaml").write_text("edgse: []\n")
    with pytest.raises(ConfigError, match="cannot be read by this version of hierfl"):
        load_run(tmp_path)


@pytest.mark.parametrize(("x", "y"), [("rounds", "accuracy"), ("round", "acuracy")])
def test_unknown_axes_and_columns_are_refused(tmp_path: Path, x: str, y: str) -> None:
    run = load_run(folder(tmp_path, [row(1, accuracy=0.5)]))
    with pytest.raises(ConfigError, match=r"rounds|acuracy"):
        run.curve(x, y)


def test_metrics_are_a_sequence_of_rows() -> None:
    metrics = Metrics([row(1), row(2), row(3)])
    assert len(metrics) == 3
    assert [one["round"] for one in metrics[1:]] == [2, 3]
