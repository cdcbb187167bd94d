from __future__ import annotations

import io
import json
import logging
import re
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from cloud.metrics import RoundMetrics, Summary
from cloud.views.base import (
    EdgePresence,
    EdgeProgress,
    Event,
    Harmless,
    Listening,
    Problem,
    RoundEvaluated,
    RunFinished,
    TrainingStarted,
    View,
)
from cloud.views.factory import open_view
from cloud.views.lines import Plain
from cloud.views.live import Live
from cloud.views.progress import Tracker
from deploy.launcher.in_process import run_memory
from hierfl.config import load_config
from hierfl.numerics.layout import Layout
from hierfl.planning.forecast import forecast
from hierfl.planning.plan import make_plan, resolve
from hierfl.protocol.progress import DevicesAttached, StepDone

CONFIG = resolve(load_config(None, ["algorithm.rounds=10", "algorithm.edge_steps=4"]))
FORECAST = forecast(CONFIG, make_plan(CONFIG, Layout(("w",), ((80_000,),)), 0))
FOLDER = Path("runs/one[red]")  # brackets are no markup


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def terminal(width: int = 80) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=True, force_interactive=True, width=width, height=30
    )


def step(edge: str, round_: int, step: int, voters: int = 3, payload: int = 1_234_567):
    return EdgeProgress(edge, StepDone(round_, step, 23.44, voters, payload))


def here(edge: str, devices: int):
    return EdgeProgress(edge, DevicesAttached(devices, 3))


def evaluated(round_: int):
    return RoundEvaluated(
        RoundMetrics(
            round=round_, steps=4 * round_, wall_s=0.5 * round_,
            figures={"loss": 0.45678, "accuracy": 0.8123},
            train_loss=0.5, lr=0.1, bytes=FORECAST.payload(), quorum={"east": 3, "west": 3},
        )
    )  # fmt: skip


def finished(**changes: object):
    facts = {
        "algorithm": "hier-signsgd", "model": "cnn", "parameters": 80_000, "devices": 6, "edges": 2,
        "figures": {"loss": 0.3456, "accuracy": 0.8731}, "rounds": 10, "steps": 40, "wall_s": 83.4,
        "steps_per_s": 0.48, "model_sha256": "ab" * 32, "bytes": FORECAST.payload(),
        "float32": FORECAST.float32(), "messages": FORECAST.payload(),
        "faults": {"reconnects": 0, "late": 0},
    }  # fmt: skip
    return RunFinished(Summary(**{**facts, **changes}))


def drawn(view: Live, width: int = 80) -> list[str]:
    """The lines that the view shows now, without colours."""
    console = Console(file=io.StringIO(), width=width)
    console.print(view._draw())
    return [text.rstrip() for text in console.file.getvalue().splitlines()]


# -- what has been told ---------------------------------------------------------------------------


def test_the_share_follows_the_steps_of_all_edges(clock):
    tracker = Tracker(CONFIG, clock)
    assert tracker.snapshot().share == 0
    tracker.handle(TrainingStarted(FORECAST))
    clock.now += 6
    assert tracker.snapshot().left is None
    tracker.handle(step("east", 3, 2))  # 10 of its 40 steps
    tracker.handle(step("west", 1, 2))
    snapshot = tracker.snapshot()
    assert snapshot.share == 12 / 80
    assert snapshot.seconds == 6
    assert snapshot.left == pytest.approx(6 * 68 / 12)
    assert snapshot.round == 3
    for edge in ("east", "west"):
        tracker.handle(step(edge, 10, 4))
    assert (tracker.snapshot().share, tracker.snapshot().left) == (1.0, None)
    tracker.end()
    clock.now += 1
    assert tracker.snapshot().seconds == 6


def test_no_news_is_lost_between_threads():
    tracker = Tracker(CONFIG)
    tracker.handle(TrainingStarted(FORECAST))
    begin = threading.Barrier(3)

    def tell(events: list[EdgeProgress]) -> None:
        begin.wait()
        for event in events:
            tracker.handle(event)

    steps = [step("east", t, s) for t in range(1, 11) for s in range(1, 5)] * 20
    there = [here("east", n % 4) for n in range(800)]
    threads = [threading.Thread(target=tell, args=(events,)) for events in (steps, there)]
    for thread in threads:
        thread.start()
    begin.wait()
    while any(thread.is_alive() for thread in threads):
        assert 0 <= tracker.snapshot().share <= 0.5
    east = tracker.snapshot().edges[0]
    assert (east.last.round, east.last.step, east.here) == (10, 4, 3)


# -- without a terminal ---------------------------------------------------------------------------


def test_plain_lines(clock):
    file = io.StringIO()
    view = Plain(CONFIG, FOLDER, file, clock)
    view.handle(Listening("127.0.0.1:4711"))
    view.handle(EdgePresence("east", True))
    view.handle(TrainingStarted(FORECAST))
    clock.now += 10
    view.handle(step("east", 2, 4))
    view.handle(step("west", 2, 4))
    view.handle(evaluated(1))
    view.handle(finished(faults={"reconnects": 2, "late": 0, "restarts": 1}))
    view.close()
    # 240 ballots, 180 decisions, 60 changes and 6 models on the devices' links, 20 reports of
    # 3 planes; 10,000 bytes a plane, 4 bytes a scale, 320,000 bytes a model.
    assert file.getvalue().splitlines() == [
        "listening at 127.0.0.1:4711, waiting for east, west",
        "demo: hier-signsgd with cnn (d = 80,000), 2 edges and 6 devices; into runs/one[red]",
        "round  1/10  accuracy 81.23%  loss 0.4568  8.0 steps/s  0:40 left",
        "accuracy 87.31%, loss 0.3456 after 10 rounds, 40 steps, 1:23 (0.5 steps/s)",
        "device up     2.40 MB  (float32: 76.8 MB, 32x)",
        "device down   4.32 MB  (float32: 78.7 MB, 18x)",
        "edge up        600 kB  (float32: 6.40 MB, 11x)",
        "edge down      840 kB  (float32: 7.04 MB, 8.4x)",
        "total         8.16 MB  (float32: 169 MB, 21x)",
        "faults: 2 reconnects, 1 restarts",
        f"model {'ab' * 32}",
        "results: runs/one[red]",
    ]


def test_plain_lines_are_whole_in_a_narrow_pipe(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    console = Console(file=io.StringIO(), force_terminal=False)
    view = open_view(CONFIG, FOLDER, console)
    view.handle(TrainingStarted(FORECAST))
    view.handle(finished())
    assert f"model {'ab' * 32}\n" in console.file.getvalue()
    assert "\x1b" not in console.file.getvalue()


# -- on a terminal --------------------------------------------------------------------------------


def test_live_from_the_start_to_the_end(clock):
    console = terminal()
    view = Live(CONFIG, FOLDER, console, clock)
    try:
        title = "demo: hier-signsgd with cnn, 2 edges and 6 devices"
        assert drawn(view)[:3] == [title, "runs/one[red]", "starting"]
        view.handle(Listening("127.0.0.1:4711"))
        view.handle(EdgePresence("east", True))
        view.handle(here("east", 2))
        assert drawn(view)[2:] == [
            "listening at 127.0.0.1:4711, waiting for west",
            "edge        devices",
            "east  here      2/3",
            "west  away      0/3",
        ]
        view.handle(EdgePresence("west", True))
        view.handle(here("west", 3))
        assert drawn(view)[2] == "all edges are here"
        view.handle(TrainingStarted(FORECAST))
        assert drawn(view)[4] == "east      -     -        -       -        -  1 away"
        clock.now += 30
        view.handle(step("east", 3, 2))
        view.handle(step("west", 3, 2, voters=2, payload=999))
        view.handle(EdgePresence("west", False))
        view.handle(evaluated(2))
        first, _, progress, result, *table = drawn(view)
        assert first == "demo: hier-signsgd with cnn (d = 80,000), 2 edges and 6 devices"
        assert progress.startswith("round 3/10  ━━━━━━━")
        assert progress.endswith("  25%  0:30  1:30 left")
        assert result == "accuracy 81.23%, loss 0.4568 after round 2"
        assert table == [
            "edge  round  step  steps/s  voters  payload",
            "east      3   2/4     23.4     3/3  1.23 MB  1 away",
            "west      3   2/4     23.4     2/3    999 B    away",
        ]
        view.handle(finished())
    finally:
        view.close()
    shown = Text.from_ansi(console.file.getvalue()).plain
    assert "device up     2.40 MB  (float32: 76.8 MB, 32x)" in shown
    assert "faults" not in shown
    assert shown.rstrip().endswith("results: runs/one[red]")
    raw = console.file.getvalue()
    assert raw.count("\x1b[?25l") == raw.count("\x1b[?25h") == 1  # the cursor is back


def test_no_color_leaves_cursor_and_weight_alone(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    view = Live(CONFIG, FOLDER, console)
    for event in (
        EdgePresence("west", False),
        TrainingStarted(FORECAST),
        step("west", 3, 2, voters=2),
        evaluated(2),
        Problem("metrics.otlp failed"),
    ):
        view.handle(event)
    view.close()
    text = console.file.getvalue()
    assert "west" in text and "metrics.otlp failed" in text
    assert not re.search(r"\x1b\[[\d;]*(3[0-7]|4[0-7]|9[0-7]|38|48)[\d;]*m", text)


def test_live_draws_by_itself_and_stops():
    class Noticing(io.StringIO):
        seen = threading.Event()

        def write(self, text: str) -> int:
            if "all edges are here" in text:
                self.seen.set()
            return super().write(text)

    file = Noticing()
    console = Console(file=file, force_terminal=True, force_interactive=True, width=80)
    view = open_view(CONFIG, FOLDER, console)
    view.handle(Listening("127.0.0.1:1"))
    view.handle(EdgePresence("east", True))
    view.handle(EdgePresence("west", True))
    assert file.seen.wait(30)
    view.close()
    after = file.getvalue()
    view.handle(EdgePresence("east", False))
    view.close()
    assert file.getvalue() == after


def test_many_edges_fit_into_the_terminal():
    edges = ", ".join(f"{{name: e{n}, devices: 1}}" for n in range(100))
    config = resolve(load_config(None, [f"edges=[{edges}]"]))
    console = terminal()
    view = Live(config, FOLDER, console)
    view.handle(TrainingStarted(FORECAST))
    first = console.file.getvalue()
    assert len(Text.from_ansi(first).plain.splitlines()) <= 30
    view.close()


def test_a_terminal_that_has_gone_stops_nothing():
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    console = Console(file=Gone(), force_terminal=True, force_interactive=True, width=80)
    view = open_view(CONFIG, FOLDER, console)
    view.handle(TrainingStarted(FORECAST))
    view.handle(finished())
    view.close()
    assert not console._buffer


# -- which of them, and what harm they may do -----------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"force_terminal": True, "force_interactive": True}, Live),
        ({"force_terminal": True, "force_interactive": False}, Plain),
        ({"force_terminal": False}, Plain),
    ],
)
def test_which_view(options, kind):
    view = open_view(CONFIG, FOLDER, Console(file=io.StringIO(), **options))
    assert isinstance(view._view, kind)
    view.close()


def test_a_log_file_is_no_terminal_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert isinstance(open_view(CONFIG, FOLDER)._view, Plain)


class Broken(View):
    def handle(self, event: Event) -> None:
        raise SystemExit(1) if isinstance(event, Listening) else OSError("no space left")

    def close(self) -> None:
        raise KeyError("nothing to close")


def test_a_broken_view_harms_nobody_and_is_logged_once(caplog):
    caplog.set_level(logging.WARNING)
    view = Harmless(Broken())
    view.handle(Listening("a:1"))
    view.handle(EdgePresence("east", True))
    view.handle(TrainingStarted(FORECAST))
    view.handle(finished())
    view.close()
    assert [record.getMessage() for record in caplog.records] == ["the view failed: SystemExit: 1"]


def test_progress_of_an_edge_that_does_not_exist_changes_nothing():
    console = terminal()
    view = open_view(CONFIG, FOLDER, console)
    before = drawn(view._view)
    view.handle(step("nowhere", 1, 1))
    assert drawn(view._view) == before
    view.close()


def test_a_view_of_ones_own_sees_a_whole_run_in_order(tmp_path):
    class Seen(View):
        def __init__(self) -> None:
            self.events: list[Event] = []

        def handle(self, event: Event) -> None:
            self.events.append(event)

    config = resolve(
        load_config(
            None,
            ["runtime=memory", "data.dataset=digits", "model=mlp", "algorithm.rounds=2",
             "algorithm.edge_steps=3"],
        )
    )  # fmt: skip
    seen = Seen()
    run_memory(config, tmp_path, seen)
    assert isinstance(seen.events[0], TrainingStarted)
    assert isinstance(seen.events[-1], RunFinished)
    steps = [event for event in seen.events if isinstance(event, EdgeProgress)]
    assert {event.edge for event in steps} == {"east", "west"}
    assert max(event.progress.round for event in steps) == 2
    rounds = [event.metrics for event in seen.events if isinstance(event, RoundEvaluated)]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert [metrics.to_json() for metrics in rounds] == lines
    assert [*lines[0]][:7] == ["round", "steps", "wall_s", "loss", "accuracy", "train_loss", "lr"]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert seen.events[-1].summary.to_json() == summary
    assert "wire" not in summary
