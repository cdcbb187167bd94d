"""Figures for other programs, read with these programs' own libraries."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cloud.exporters.factory import LIBRARIES, exporters
from cloud.exporters.figures import FIGURES, scalars
from cloud.views.background import Background
from cloud.views.base import EdgePresence, Event, TrainingStarted, View
from hierfl.config import Config, load_config
from hierfl.errors import ConfigError, RunFailed
from hierfl.planning.plan import resolve
from tests.system.harness import wait_until
from tests.unit.cloud.views.events import FORECAST, evaluated, finished, here, step
from tests.unit.conftest import Run

ROOT = Path(__file__).parents[3]

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
    page = (ROOT / "docs" / "watching.md").read_text()
    assert all(f"`{name}`" in page for name, *_ in found)
    dashboard = (ROOT / "deploy" / "grafana.json").read_text()
    used = set(re.findall(r"hierfl_\w+", dashboard)) - {"hierfl_federation"}
    assert used <= {name for name, *_ in found}
    assert len(json.loads(dashboard)["panels"]) > 5


def test_an_address_that_is_taken_is_one_line_and_no_run(hierfl: Run) -> None:
    pytest.importorskip("prometheus_client")
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(RunFailed, match=f"metrics.prometheus: cannot listen at {address}"):
            exporters(asking(f"prometheus={address}"), Path(), print)
    with pytest.raises(ConfigError, match=r"metrics.prometheus: cannot listen at 192\.0\.2\.1:0"):
        exporters(asking("prometheus=192.0.2.1:0"), Path(), print)


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
    [
        ("prometheus=127.0.0.1:0", "prometheus"),
        ("tensorboard=true", "tensorboard"),
        ("mlflow=http://127.0.0.1:9", "mlflow"),
        ("wandb=garden", "wandb"),
        ("otlp=http://127.0.0.1:9", "otlp"),
    ],
)
def test_a_library_that_is_missing_is_named(
    key: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = next(library for library, key in LIBRARIES.items() if key == module)
    for name in [*sys.modules]:
        if name == f"cloud.exporters.{module}" or name.partition(".")[0] == library:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=f"metrics.{module}: .* is not installed") as error:
        exporters(asking(key), tmp_path, print)
    assert error.value.hint == f"pip install 'hierfl[{module}]'"


class Away(View):
    """An exporter whose server is away."""

    def handle(self, event: Event) -> None:
        raise ConnectionRefusedError(111, "Connection refused")


def test_what_fails_is_said_once_and_disturbs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    said = list[str]()
    view = Background(Away(), "metrics.away", said.append)
    for _ in range(3):
        for event in EVENTS:
            view.handle(event)
    view.close()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert said == [
        "metrics.away failed: ConnectionRefusedError: [Errno 111] Connection refused; the run goes "
        "on"
    ]


# -- trackers: each figure of each round by the names of the documents ----------------------------


def expected(round_: int, name: str) -> float:
    """Return a figure of `evaluated`, by the trackers' name."""
    return scalars(evaluated(round_, 0.25 * round_).metrics)[name]


def test_every_name_of_the_trackers_is_documented() -> None:
    page = (ROOT / "docs" / "watching.md").read_text()
    for name in scalars(evaluated(1).metrics):
        group, _, rest = name.partition("/")
        wild = {"model": "NAME", "bytes": "LINK", "quorum": "EDGE"}.get(group, rest)
        assert f"`{group}/{wild}`" in page, name
    for figure in FIGURES:
        assert f"`{figure.name}{'_total' if figure.counts else ''}`" in page


def test_mlflow_has_each_round_and_one_run_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "mlruns").as_uri()
    logged(uri, tmp_path, (1, 2))
    logged(uri, tmp_path, (3,))  # a cloud that is started again
    shown_by_mlflow(uri, (1, 2, 3))


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_mlflows_own_server_has_each_round_also_what_it_has_missed(tmp_path: Path) -> None:
    pytest.importorskip("mlflow.server")
    pytest.importorskip("sqlalchemy")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    uri, said = f"http://127.0.0.1:{port}", list[str]()
    (view,) = exporters(asking(f"mlflow={uri}"), tmp_path, said.append)
    view.handle(evaluated(1, 0.25))  # the server is away
    wait_until(lambda: said)
    with subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
         "--workers", "1", "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db",
         "--artifacts-destination", str(tmp_path / "artifacts")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
    ) as server:  # fmt: skip
        try:
            wait_until(lambda: answers(f"{uri}/health"), 300)
            for event in (evaluated(2, 0.5), evaluated(3, 0.75), finished()):
                view.handle(event)
            join(view)
            shown_by_mlflow(uri, (1, 2, 3))
        finally:
            os.killpg(server.pid, signal.SIGTERM)
    assert len(said) == 1 and "Connection refused" in said[0]


def test_a_uri_that_mlflow_does_not_take_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    with pytest.raises(ConfigError, match=r"metrics\.mlflow: .*") as error:
        exporters(asking("mlflow=nonsense://nowhere"), tmp_path, print)
    assert "\n" not in error.value.message


def logged(uri: str, folder: Path, rounds: tuple[int, ...]) -> None:
    """Log rounds as one process of a cloud."""
    (view,) = exporters(asking(f"mlflow={uri}"), folder, pytest.fail)
    for round_ in rounds:
        view.handle(evaluated(round_, 0.25 * round_))
    if 3 in rounds:
        view.handle(finished())
    join(view)


def shown_by_mlflow(uri: str, rounds: tuple[int, ...]) -> None:
    """See that the server has one run with these rounds, as an experiment of the federation's."""
    import mlflow

    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("demo")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.tags["model_sha256"] == finished().summary.model_sha256
    assert run.data.params["algorithm.name"] == "hier-signsgd"
    assert not any(key.startswith(("metrics.", "notify", "security")) for key in run.data.params)
    for name in scalars(evaluated(1).metrics):
        points = client.get_metric_history(run.info.run_id, name)
        history = {point.step: point.value for point in points}
        assert history == pytest.approx({t: expected(t, name) for t in rounds})


def answers(url: str) -> bool:
    """Return whether a server says that it is well."""
    with suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return bool(answer.status == 200)
    return False


def test_wandb_keeps_a_run_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    (view,) = exporters(asking("wandb=garden"), tmp_path, pytest.fail)
    for event in (TrainingStarted(FORECAST), evaluated(1), evaluated(2), finished()):
        view.handle(event)
    join(view)
    wandb.teardown()
    (kept,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    data = kept.read_bytes()
    assert (tmp_path / "wandb.id").read_text().strip() in kept.name
    for name in (*scalars(evaluated(1).metrics), finished().summary.model_sha256):
        assert name.encode() in data, name


def test_an_opentelemetry_collector_is_sent_what_prometheus_scrapes() -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    with collector() as (url, requests):
        (view,) = exporters(asking(f"otlp={url}"), Path(), pytest.fail)
        for event in EVENTS:
            view.handle(event)
        join(view)
    found = {
        (metric.name, *(value.value.string_value for value in point.attributes)): point.as_double
        for resource in requests[-1].resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in getattr(metric, metric.WhichOneof("data")).data_points
    }
    assert found["hierfl_round", "demo"] == 2
    assert found["hierfl_metric", "demo", "accuracy"] == 0.75
    assert found["hierfl_edge_devices", "demo", "east"] == 2
    assert found["hierfl_done", "demo"] == 1
    names = {name for name, *_ in found}
    assert names == {figure.name for figure in FIGURES}
    counters = {
        metric.name: metric.sum.is_monotonic
        for scope in requests[-1].resource_metrics[0].scope_metrics
        for metric in scope.metrics
        if metric.WhichOneof("data") == "sum"
    }
    assert counters == {figure.name: True for figure in FIGURES if figure.counts}


@pytest.mark.parametrize("key", ["otlp", "mlflow", "wandb"])
def test_a_server_that_is_away_is_told_once_and_the_run_goes_on(
    key: str, hierfl: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = next(library for library, one in LIBRARIES.items() if one == key)
    pytest.importorskip(
        {"opentelemetry": "opentelemetry.exporter.otlp.proto.http"}.get(library, library)
    )
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    with socket.create_server(("127.0.0.1", 0)) as other:
        away = f"http://127.0.0.1:{other.getsockname()[1]}"
    monkeypatch.setenv("WANDB_BASE_URL", away)
    value = "garden" if key == "wandb" else away
    sets = ["runtime=memory", "data.dataset=digits", "model=mlp", "algorithm.rounds=3",
            f"metrics.{key}={value}"]  # fmt: skip
    if key == "wandb":
        sys.modules["wandb"].teardown()  # it reads its environment once
        monkeypatch.setattr("cloud.exporters.wandb.INIT_S", 1.0)
    done = hierfl("run", *(part for text in sets for part in ("--set", text)), "--out", "run")
    assert done.code == 0
    assert done.out.count(f"metrics.{key} failed: ") == 1, done.out
    assert "round 3/3" in done.out and "results: run" in done.out
    if key == "wandb":
        sys.modules["wandb"].teardown()
        assert [*Path("run/wandb").glob("offline-run-*")]


def join(view: View) -> None:
    """Close a view of `exporters`, however long its library takes to begin."""
    assert isinstance(view, Background)
    view.close()
    view._thread.join(60)
    assert not view._thread.is_alive()


@contextmanager
def collector() -> Iterator[tuple[str, list[Any]]]:
    """A collector of OpenTelemetry's metrics: its URL, and the requests that it has taken."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )

    taken = list[Any]()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/metrics"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append(ExportMetricsServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", taken
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
