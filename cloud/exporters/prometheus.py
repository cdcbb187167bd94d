"""Figures of a run for Prometheus, which scrapes them; `docs/watching.md` names them all."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from cloud.metrics import RoundMetrics
from cloud.views.base import Event, RunFinished, View
from cloud.views.progress import EdgeStatus, Tracker
from hierfl.config import Config
from hierfl.config.addresses import split
from hierfl.errors import ConfigError, RunFailed

Values = Mapping[tuple[str, ...], float]
"""The labels' values beside the federation's name -> a figure."""


class Prometheus(View):
    """Serves the figures at an address until `close`.

    Args:
        config: the federation's resolved configuration.
        address: host:port.

    Raises:
        ConfigError: the address is none of this machine's.
        RunFailed: another program has the port.
    """

    def __init__(self, config: Config, address: str) -> None:
        self._figures = Figures(config)
        registry = CollectorRegistry()
        registry.register(self._figures)
        host, port = split(address)
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError as error:
            reason = f"cannot listen at {address}: {error.strerror}"
            if error.errno == errno.EADDRINUSE:
                raise RunFailed(f"metrics.prometheus: {reason}", "Give another port.") from None
            raise ConfigError("metrics.prometheus", reason) from None

    @property
    def port(self) -> int:
        """The port that it has."""
        return int(self._server.server_port)

    def handle(self, event: Event) -> None:
        """Take an event."""
        self._figures.handle(event)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Figures:
    """What is known now, made into Prometheus' metrics when it asks."""

    def __init__(self, config: Config) -> None:
        self._name = config.name
        self._tracker = Tracker(config)
        self._done = False

    def handle(self, event: Event) -> None:
        """Take an event."""
        self._tracker.handle(event)
        self._done = self._done or isinstance(event, RunFinished)

    def collect(self) -> Iterator[Metric]:
        """Yield all figures."""
        seen = self._tracker.snapshot()
        yield self._gauge("hierfl_done", "Whether the run is done.", {(): float(self._done)})
        yield from self._edges(seen.edges)
        if seen.metrics is not None:
            yield from self._round(seen.metrics)

    def _round(self, last: RoundMetrics) -> Iterator[Metric]:
        yield self._gauge("hierfl_round", "The last round that is done.", {(): last.round})
        yield self._counter("hierfl_steps", "Steps of one cluster.", {(): last.steps})
        if last.train_loss is not None:
            yield self._gauge("hierfl_train_loss", "Loss in training.", {(): last.train_loss})
        yield self._gauge("hierfl_learning_rate", "The round's learning rate.", {(): last.lr})
        figures: Values = {
            (name,): value for name, value in last.figures.items() if value is not None
        }
        yield self._gauge("hierfl_metric", "A figure of the model.", figures, "metric")
        sent: Values = {(link,): count for link, count in last.bytes.items()}
        yield self._counter("hierfl_payload_bytes", "Payload on a link.", sent, "link")

    def _edges(self, edges: tuple[EdgeStatus, ...]) -> Iterator[Metric]:
        def of(values: Mapping[str, float | None]) -> Values:
            return {(name,): value for name, value in values.items() if value is not None}

        there = of({edge.name: edge.attached for edge in edges})
        yield self._gauge("hierfl_edge_attached", "Whether an edge is there.", there, "edge")
        devices = of({edge.name: edge.here for edge in edges})
        yield self._gauge("hierfl_edge_devices", "Devices that are there.", devices, "edge")
        voters = of({edge.name: edge.last.voters if edge.last else None for edge in edges})
        yield self._gauge("hierfl_edge_voters", "Devices in the last step.", voters, "edge")
        paces = of({edge.name: edge.last.steps_per_s if edge.last else None for edge in edges})
        yield self._gauge("hierfl_edge_steps_per_second", "An edge's pace.", paces, "edge")

    def _gauge(self, name: str, words: str, values: Values, *labels: str) -> Metric:
        metric = GaugeMetricFamily(name, words, labels=["federation", *labels])
        for label, value in values.items():
            metric.add_metric([self._name, *label], value)
        return metric

    def _counter(self, name: str, words: str, values: Values, *labels: str) -> Metric:
        metric = CounterMetricFamily(name, words, labels=["federation", *labels])
        for label, value in values.items():
            metric.add_metric([self._name, *label], value)
        return metric
