"""The report's figures are those of the run folder; the page needs nothing from outside."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierfl.report.chart import Series, line_chart, nice_ticks
from hierfl.report.page import report
from hierfl.runs.results import load_run
from tests.unit.conftest import Run

EXAMPLE = Path(__file__).parents[3] / "examples" / "digits.yaml"


class Page(HTMLParser):
    """The text of a page's cells, and whatever it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.loads: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open, "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "td":
            self.cells.append("")
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open:
            self.cells[-1] += data


@pytest.fixture
def runs(hierfl: Run, tmp_path: Path) -> list[Path]:
    folders = [tmp_path / name for name in ("signs", "sgd")]
    for folder, name in zip(folders, ("hier-signsgd", "hier-sgd"), strict=True):
        sets = ["runtime=memory", "algorithm.rounds=3", f"algorithm.name={name}"]
        options = [option for key in sets for option in ("--set", key)]
        assert hierfl("run", EXAMPLE, *options, "--out", folder).code == 0
    return folders


def test_the_figures_are_those_of_the_run_folders(hierfl: Run, runs: list[Path]) -> None:
    assert hierfl("report", *runs, "--out", "both.html").code == 0
    text = Path("both.html").read_text()
    page = Page(text)
    assert page.loads == []
    assert "<script" not in text
    for folder in runs:
        last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
        summary = json.loads((folder / "summary.json").read_text())
        assert f"{last['accuracy']:.4g}" in page.cells
        assert summary["model_sha256"][:12] in page.cells
        assert summary["algorithm"] in page.cells
    assert "algorithm.name" in page.cells  # what differs


def test_each_round_is_a_point_of_the_curve(runs: list[Path]) -> None:
    text = report([load_run(runs[0])])
    lines = re.findall(r'<polyline points="([^"]*)"', text)
    assert lines
    assert all(len(line.split()) == 3 for line in lines)


def test_every_run_leaves_its_report_and_what_float32_would_have_sent(runs: list[Path]) -> None:
    signs, sgd = (Page((run / "report.html").read_text()) for run in runs)
    summary = json.loads((runs[0] / "summary.json").read_text())
    assert 25 < summary["float32"]["device_up"] / summary["bytes"]["device_up"] < 32.1
    assert any("float32: " in cell for cell in signs.cells)
    assert summary["model_sha256"] in signs.cells
    summary = json.loads((runs[1] / "summary.json").read_text())
    assert summary["float32"]["device_up"] == summary["bytes"]["device_up"]
    assert any(", 1x)" in cell for cell in sgd.cells)


def test_a_run_whose_report_fails_is_done_all_the_same(
    hierfl: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(runs: object) -> str:
        raise ZeroDivisionError("no figure")

    monkeypatch.setattr("hierfl.report.page.report", broken)
    sets = ["--set", "runtime=memory", "--set", "algorithm.rounds=1"]
    assert hierfl("run", EXAMPLE, *sets, "--out", tmp_path / "run").code == 0
    assert (tmp_path / "run" / "summary.json").is_file()
    assert not (tmp_path / "run" / "report.html").exists()
    assert "no report.html was written: ZeroDivisionError: no figure" in caplog.text


def test_a_report_of_one_run_lies_in_its_folder(hierfl: Run, runs: list[Path]) -> None:
    (runs[0] / "report.html").unlink()
    assert hierfl("report", runs[0]).code == 0
    assert (runs[0] / "report.html").is_file()


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_a_figure_for_a_paper(hierfl: Run, runs: list[Path], ending: str) -> None:
    pytest.importorskip("matplotlib")
    assert hierfl("plot", *runs, "--x", "bytes", "-o", f"f.{ending}").code == 0
    assert Path(f"f.{ending}").stat().st_size > 1000


def test_bad_requests_for_a_figure(hierfl: Run, runs: list[Path]) -> None:
    pytest.importorskip("matplotlib")
    assert hierfl("plot", runs[0], "--y", "acuracy").code == 2
    assert hierfl("plot", runs[0], "--x", "rounds").code == 2
    assert hierfl("plot", runs[0], "-o", "f.nonsense").code == 2
    assert hierfl("plot", "nowhere").code == 2


def test_names_are_text_not_markup(runs: list[Path]) -> None:
    odd = runs[0].rename(runs[0].with_name("<script>alert(1)<"))
    assert "<script" not in report([load_run(odd), load_run(runs[1])])


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_lie_within_and_are_few(low: float, span: float) -> None:
    ticks = nice_ticks(low, low + span)
    assert len(ticks) <= 12
    assert all(low - span * 1e-6 <= tick <= low + span * (1 + 1e-6) for tick in ticks)


@given(st.lists(st.tuples(st.floats(1, 1e9), st.floats(-1e3, 1e3)), min_size=1, max_size=20))
def test_every_point_lies_within_the_chart(points: list[tuple[float, float]]) -> None:
    xs, ys = zip(*points, strict=True)
    for log in (False, True):
        svg = line_chart([Series("a", xs, ys)], "x", "y", log_x=log)
        drawn = re.search(r'points="([^"]*)"', svg)
        assert drawn is not None
        for place in drawn[1].split():
            x, y = map(float, place.split(","))
            assert 0 <= x <= 560
            assert 0 <= y <= 280
