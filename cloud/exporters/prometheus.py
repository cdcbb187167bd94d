"""Figures of a run for Prometheus, which scrapes them."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from cloud.exporters.figures import FIGURES, Latest
from cloud.views.base import Event, View
from hierfl.config import Config
from hierfl.config.addresses import split
from hierfl.errors import ConfigError, RunFailed


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
        self._latest = Latest(config)
        registry = CollectorRegistry()
        registry.register(_Collector(config.name, self._latest))
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
        self._latest.handle(event)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Collector:
    """What is known now, made into Prometheus' metrics when it asks."""

    def __init__(self, federation: str, latest: Latest) -> None:
        self._federation = federation
        self._latest = latest

    def collect(self) -> Iterator[Metric]:
        seen = self._latest.seen()
        for figure in FIGURES:
            kind = CounterMetricFamily if figure.counts else GaugeMetricFamily
            labels = ["federation", *([figure.label] if figure.label else [])]
            metric = kind(figure.name, figure.words, labels=labels)
            for key, value in figure.known(seen).items():
                metric.add_metric([self._federation, *([key] if figure.label else [])], value)
            yield metric
