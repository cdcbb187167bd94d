"""events.jsonl: what happens to nodes in training, at the times of metrics.jsonl."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cloud.views.base import EdgePresence, EdgeProgress, Listening, TrainingStarted
from cloud.views.events import EventLog
from hierfl.protocol.progress import DeviceStates
from hierfl.report.page import report
from hierfl.runs.results import load_run
from tests.unit.cloud.views.events import CONFIG, FORECAST, evaluated, finished, here, step


def written(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a run in which a device and an edge were away."""
    (tmp_path / "config.yaml").write_text(CONFIG.to_yaml())
    now = [1000.0]
    log = EventLog(CONFIG, tmp_path, lambda: now[0])
    for at, event in (
        (1000.0, Listening("127.0.0.1:7")),
        (1001.0, EdgePresence("east", True)),
        (1002.0, here("east")),
        (1010.0, TrainingStarted(FORECAST)),
        (1010.4, step("east", 1, 2)),
        (1010.5, evaluated(1)),
        (1011.0, here("east", "east-2")),
        (1012.5, here("east")),
        (1013.0, EdgePresence("west", False)),
        (1014.0, EdgePresence("west", True)),
        (1014.5, EdgeProgress("east", DeviceStates((("east-0", "late", 1014.25, "4 steps"),)))),
        (1016.0, finished()),
        (1017.0, EdgePresence("west", False)),
    ):
        now[0] = at
        log.handle(event)
    (tmp_path / "metrics.jsonl").write_text(
        "".join(f"{json.dumps(evaluated(t).metrics.to_json())}\n" for t in (1, 12))
    )
    return tmp_path


def test_only_what_happens_in_training_is_written_with_its_time(folder: Path) -> None:
    assert [tuple(line.values()) for line in written(folder)] == [
        (1.0, "east-2", "is away", True),
        (2.5, "east-2", "is back", False),
        (3.0, "west", "is away", True),
        (4.0, "west", "is back", False),
        (4.25, "east-0", "late: 4 steps", True),
    ]


def test_a_cloud_that_is_started_again_goes_on_with_the_times(folder: Path) -> None:
    now = [5000.0]
    log = EventLog(CONFIG, folder, lambda: now[0])
    log.handle(TrainingStarted(FORECAST))
    now[0] = 5001.0
    log.handle(EdgePresence("east", False))
    again, away = written(folder)[-2:]
    assert again == {"wall_s": 6.0, "node": "cloud", "what": "has been started again", "bad": True}
    assert (away["wall_s"], away["node"]) == (7.0, "east")


def test_the_report_has_them_on_its_time_line_and_in_a_table(folder: Path) -> None:
    run = load_run(folder)
    assert len(run.events) == 5 and run.damaged == ()
    text = report([run])
    assert text.count('class="fault"') == 2 * 3  # on both charts against time
    assert text.count('class="back"') == 2 * 2
    assert "<title>3.0 s: west is away</title>" in text
    assert "<td>east-0</td><td>late: 4 steps</td>" in text
    places = re.findall(r'class="fault" x1="([\d.]+)"', text)
    assert places[:3] == sorted(places[:3], key=float)


def test_damaged_events_are_left_out_and_said(folder: Path) -> None:
    with (folder / "events.jsonl").open("a") as file:
        file.write('{"wall_s": "late"}\n')
    run = load_run(folder)
    assert len(run.events) == 5
    assert run.damaged == ("line 6 of events.jsonl is damaged and is left out",)
