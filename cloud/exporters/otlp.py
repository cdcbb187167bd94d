"""Figures of a run for an OpenTelemetry collector, over OTLP with HTTP."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult
from opentelemetry.sdk.resources import Resource

from cloud.exporters.figures import FIGURES, Figure, Latest
from cloud.views.base import Event, RunFinished, TrainingStarted, View
from hierfl.config import Config

EVERY_S = 5.0
TIMEOUT_S = 5.0


class Otlp(View):
    """Sends all figures every few seconds while there are events, and at the run's end.

    Args:
        config: the federation's resolved configuration.
        endpoint: of the collector, an http URL; without a path: /v1/metrics.
        clock: seconds from any moment on.
    """

    def __init__(
        self, config: Config, endpoint: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._latest = Latest(config)
        self._federation = config.name
        self._clock = clock
        self._sent = clock()
        self._url = endpoint
        if not urlsplit(endpoint).path.strip("/"):
            self._url = f"{endpoint.rstrip('/')}/v1/metrics"
        self._exporter = OTLPMetricExporter(endpoint=self._url, timeout=TIMEOUT_S)
        self._reader = InMemoryMetricReader()
        # Whoever hands events on says once that the collector is away; the library would each time.
        logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.CRITICAL)
        self._provider = MeterProvider(
            [self._reader],
            Resource.create({"service.name": "hierfl"}),
            shutdown_on_exit=False,
        )
        meter = self._provider.get_meter("hierfl")
        for figure in FIGURES:
            self._observe(meter, figure)

    def handle(self, event: Event) -> None:
        """Take an event.

        Raises:
            ConnectionError: the collector does not take the figures.
        """
        self._latest.handle(event)
        now = self._clock()
        if isinstance(event, TrainingStarted | RunFinished) or now - self._sent >= EVERY_S:
            self._sent = now
            self._send()

    def close(self) -> None:
        """Let the library go."""
        self._provider.shutdown()
        self._exporter.shutdown()

    def _observe(self, meter: Meter, figure: Figure) -> None:
        def observed(options: CallbackOptions) -> Iterator[Observation]:
            for key, value in figure.known(self._latest.seen()).items():
                labels = {figure.label: key} if figure.label else {}
                yield Observation(value, {"federation": self._federation, **labels})

        create = meter.create_observable_counter if figure.counts else meter.create_observable_gauge
        create(figure.name, [observed], description=figure.words)

    def _send(self) -> None:
        data = self._reader.get_metrics_data()
        if data and self._exporter.export(data) is not MetricExportResult.SUCCESS:
            raise ConnectionError(f"the collector at {self._url} does not take the figures")
