from __future__ import annotations

import io
import json
import logging
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from cloud.views.base import Harmless, View
from cloud.views.factory import open_view
from cloud.views.lines import Plain
from cloud.views.live import Live
from cloud.views.progress import Told
from hierfl.config import load_config
from hierfl.numerics.layout import Layout
from hierfl.planning.forecast import forecast
from hierfl.planning.plan import resolve

CONFIG = resolve(load_config(None, ["algorithm.rounds=10", "algorithm.edge_steps=4"]))
FORECAST = forecast(CONFIG, Layout(("w",), ((80_000,),)), 0)
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


def step(round_: int, step: int, voters: int = 3, payload: int = 1_234_567) -> bytes:
    told = {"round": round_, "step": step, "steps_per_s": 23.44}
    return json.dumps({**told, "voters": voters, "payload": payload}).encode()


def line(round_: int) -> dict[str, object]:
    return {
        "round": round_, "steps": 4 * round_, "wall_s": 0.5 * round_,
        "accuracy": 0.8123, "loss": 0.45678,
    }  # fmt: skip


def summary(**changes: object) -> dict[str, object]:
    return {
        "accuracy": 0.8731, "loss": 0.3456, "rounds": 10, "steps": 40, "wall_s": 83.4,
        "steps_per_s": 0.48, "model_sha256": "ab" * 32, "bytes": FORECAST.payload(),
        "faults": {"reconnects": 0, "late": 0},
        **changes,
    }  # fmt: skip


def drawn(view: Live, width: int = 80) -> list[str]:
    """The lines that the view shows now, without colours."""
    console = Console(file=io.StringIO(), width=width)
    console.print(view._draw())
    return [text.rstrip() for text in console.file.getvalue().splitlines()]


# -- what has been told ---------------------------------------------------------------------------


def test_the_share_follows_the_steps_of_all_edges(clock):
    told = Told(CONFIG, clock)
    assert told.picture().share == 0
    told.start(FORECAST)
    clock.now += 6
    assert told.picture().left is None
    told.progress("east", step(3, 2))  # 10 of its 40 steps
    told.progress("west", step(1, 2))
    picture = told.picture()
    assert picture.share == 12 / 80
    assert picture.seconds == 6
    assert picture.left == pytest.approx(6 * 68 / 12)
    assert picture.round == 3
    for edge in ("east", "west"):
        told.progress(edge, step(10, 4))
    assert (told.picture().share, told.picture().left) == (1.0, None)
    told.end()
    clock.now += 1
    assert told.picture().seconds == 6


def test_no_news_is_lost_between_threads():
    told = Told(CONFIG)
    told.start(FORECAST)
    begin = threading.Barrier(3)

    def tell(edge: str, news: list[bytes]) -> None:
        begin.wait()
        for one in news:
            told.progress(edge, one)

    steps = [step(t, s) for t in range(1, 11) for s in range(1, 5)] * 20
    there = [json.dumps({"devices": n % 4, "of": 3}).encode() for n in range(801)]
    threads = [
        threading.Thread(target=tell, args=("east", steps)),
        threading.Thread(target=tell, args=("east", there[:800])),
    ]
    for thread in threads:
        thread.start()
    begin.wait()
    while any(thread.is_alive() for thread in threads):
        assert 0 <= told.picture().share <= 0.5
    east = told.picture().edges[0]
    assert (east.round, east.step, east.here) == (10, 4, 3)


# -- without a terminal ---------------------------------------------------------------------------


def test_plain_lines(clock):
    file = io.StringIO()
    view = Plain(CONFIG, FOLDER, file, clock)
    view.wait("127.0.0.1:4711")
    view.presence("east", True)
    view.start(FORECAST)
    clock.now += 10
    view.progress("east", step(2, 4))
    view.progress("west", step(2, 4))
    view.round(line(1))
    view.finish(summary(faults={"reconnects": 2, "late": 0, "restarts": 1}))
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
    view.start(FORECAST)
    view.finish(summary())
    assert f"model {'ab' * 32}\n" in console.file.getvalue()
    assert "\x1b" not in console.file.getvalue()


# -- on a terminal --------------------------------------------------------------------------------


def test_live_from_the_start_to_the_end(clock):
    console = terminal()
    view = Live(CONFIG, FOLDER, console, clock)
    try:
        title = "demo: hier-signsgd with cnn, 2 edges and 6 devices"
        assert drawn(view)[:3] == [title, "runs/one[red]", "starting"]
        view.wait("127.0.0.1:4711")
        view.presence("east", True)
        view.progress("east", b'{"devices": 2, "of": 3}')
        assert drawn(view)[2:] == [
            "listening at 127.0.0.1:4711, waiting for west",
            "edge        devices",
            "east  here      2/3",
            "west  away      0/3",
        ]
        view.presence("west", True)
        view.progress("west", b'{"devices": 3, "of": 3}')
        assert drawn(view)[2] == "all edges are here"
        view.start(FORECAST)
        assert drawn(view)[4] == "east      -     -        -       -        -  1 away"
        clock.now += 30
        view.progress("east", step(3, 2))
        view.progress("west", step(3, 2, voters=2, payload=999))
        view.presence("west", False)
        view.round(line(2))
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
        view.finish(summary())
    finally:
        view.close()
    shown = Text.from_ansi(console.file.getvalue()).plain
    assert "device up     2.40 MB  (float32: 76.8 MB, 32x)" in shown
    assert "faults" not in shown
    assert shown.rstrip().endswith("results: runs/one[red]")
    raw = console.file.getvalue()
    assert raw.count("\x1b[?25l") == raw.count("\x1b[?25h") == 1  # the cursor is back


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
    view.wait("127.0.0.1:1")
    view.presence("east", True)
    view.presence("west", True)
    assert file.seen.wait(30)
    view.close()
    after = file.getvalue()
    view.presence("east", False)
    view.close()
    assert file.getvalue() == after


def test_many_edges_fit_into_the_terminal():
    edges = ", ".join(f"{{name: e{n}, devices: 1}}" for n in range(100))
    config = resolve(load_config(None, [f"edges=[{edges}]"]))
    console = terminal()
    view = Live(config, FOLDER, console)
    view.start(FORECAST)
    first = console.file.getvalue()
    assert len(Text.from_ansi(first).plain.splitlines()) <= 30
    view.close()


def test_a_terminal_that_has_gone_stops_nothing():
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    console = Console(file=Gone(), force_terminal=True, force_interactive=True, width=80)
    view = open_view(CONFIG, FOLDER, console)
    view.start(FORECAST)
    view.finish(summary())
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
    def wait(self, address: str) -> None:
        raise SystemExit(1)

    def presence(self, edge: str, attached: bool) -> None:
        raise OSError("no space left")

    start = progress = round = finish = presence  # type: ignore[assignment]

    def close(self) -> None:
        raise KeyError("nothing to close")


def test_a_broken_view_harms_nobody_and_is_logged_once(caplog):
    caplog.set_level(logging.WARNING)
    view = Harmless(Broken())
    view.wait("a:1")
    view.presence("east", True)
    view.start(FORECAST)
    view.progress("east", b"")
    view.round({})
    view.finish({})
    view.close()
    assert [record.getMessage() for record in caplog.records] == ["the view failed: SystemExit: 1"]


@pytest.mark.parametrize(
    "news",
    [b"", b"{", b"[]", b"3", b"\xff", b'{"devices": "x"}', b'{"round": 1}', b"[" * 5000,
     b'{"round": 1, "step": NaN, "steps_per_s": 1, "voters": 1, "payload": 1}',
     b'{"round": 1, "step": Infinity, "steps_per_s": 1, "voters": 1, "payload": 1}'],
)  # fmt: skip
def test_bad_news_changes_nothing(news):
    console = terminal()
    view = open_view(CONFIG, FOLDER, console)
    before = drawn(view._view)
    view.progress("east", news)
    view.progress("nowhere", step(1, 1))
    assert drawn(view._view) == before
    view.close()
