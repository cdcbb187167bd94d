"""Figures for other programs, read with these programs' own libraries."""

from __future__ import annotations

import json
import logging
import re
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from cloud.exporters.factory import exporters
from cloud.views.background import Background
from cloud.views.base import EdgePresence, Event, TrainingStarted, View
from hierfl.config import Config, load_config
from hierfl.errors import ConfigError, RunFailed
from hierfl.planning.plan import resolve
from tests.unit.cloud.views.events import FORECAST, evaluated, finished, here, step
from tests.unit.conftest import Run

EVENTS: list[Event] = [
    EdgePresence("east", True), here("east", "east-2"), TrainingStarted(FORECAST),
    step("east", 1, 1), evaluated(1, 0.5), evaluated(2, 0.75), finished(),
]  # fmt: skip


def asking(*sets: str) -> Config:
    return resolve(load_config(None, [f"metrics.{text}" for text in sets]))


def test_prometheus_scrapes_what_the_events_come_to(tmp_path: Path) -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    from cloud.exporters.prometheus import Prometheus

    view = Prometheus(asking(), "127.0.0.1:0")
    for event in EVENTS:
        view.handle(event)
    with urllib.request.urlopen(f"http://127.0.0.1:{view.port}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    view.close()
    found: dict[tuple[Any, ...], float] = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            labels = {key: value for key, value in sample.labels.items() if key != "federation"}
            assert sample.labels["federation"] == "demo"
            found[sample.name, *labels.values()] = sample.value
    assert found["hierfl_round",] == 2
    assert found["hierfl_steps_total",] == 8
    assert found["hierfl_metric", "accuracy"] == 0.75
    assert found["hierfl_payload_bytes_total", "edge_up"] == FORECAST.payload()["edge_up"] * 2 // 10
    assert found["hierfl_edge_devices", "east"] == 2
    assert found["hierfl_edge_voters", "east"] == 3
    assert found["hierfl_done",] == 1
    page = (Path(__file__).parents[3] / "docs" / "watching.md").read_text()
    assert all(f"`{name}`" in page for name, *_ in found)
    dashboard = (Path(__file__).parents[3] / "deploy" / "grafana.json").read_text()
    used = set(re.findall(r"hierfl_\w+", dashboard)) - {"hierfl_federation"}
    assert used <= {name for name, *_ in found}
    assert len(json.loads(dashboard)["panels"]) > 5


def test_an_address_that_is_taken_is_one_line_and_no_run(hierfl: Run) -> None:
    pytest.importorskip("prometheus_client")
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(RunFailed, match=f"metrics.prometheus: cannot listen at {address}"):
            exporters(asking(f"prometheus={address}"), Path())
    with pytest.raises(ConfigError, match=r"metrics.prometheus: cannot listen at 192\.0\.2\.1:0"):
        exporters(asking("prometheus=192.0.2.1:0"), Path())


def test_tensorboard_reads_each_round(hierfl: Run) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sets = ["runtime=memory", "data.dataset=digits", "model=mlp", "algorithm.rounds=3",
            "metrics.tensorboard=true"]  # fmt: skip
    options = [option for text in sets for option in ("--set", text)]
    assert hierfl("run", *options, "--out", "run").code == 0
    from hierfl import load_run

    run = load_run("run")
    events = EventAccumulator("run/tensorboard").Reload()
    for tag, column in {"model/accuracy": "accuracy", "training/loss": "train_loss"}.items():
        points = events.Scalars(tag)
        assert [point.step for point in points] == [1, 2, 3]
        assert [point.value for point in points] == pytest.approx(run.metrics.column(column))


@pytest.mark.parametrize(
    ("key", "module"),
    [("prometheus=127.0.0.1:0", "prometheus"), ("tensorboard=true", "tensorboard")],
)
def test_a_library_that_is_missing_is_named(
    key: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = {"prometheus": "prometheus_client"}.get(module, module)
    for name in [*sys.modules]:
        if name == f"cloud.exporters.{module}" or name.partition(".")[0] == library:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=f"metrics.{module}: .* is not installed") as error:
        exporters(asking(key), tmp_path)
    assert error.value.hint == f"pip install 'hierfl[{module}]'"


class Away(View):
    """An exporter whose server is away."""

    def handle(self, event: Event) -> None:
        raise ConnectionRefusedError(111, "Connection refused")


def test_what_fails_is_said_once_and_disturbs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    view = Background(Away(), "away")
    for _ in range(3):
        for event in EVENTS:
            view.handle(event)
    view.close()
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1 and "Connection refused" in warnings[0].getMessage()
