"""Figures of a run for an MLflow tracking server."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from cloud.exporters.figures import scalars
from cloud.views.base import Event, RoundEvaluated, RunFinished, View
from hierfl.config import Config
from hierfl.config.dotted import described
from hierfl.errors import ConfigError

if TYPE_CHECKING:
    from mlflow.entities import Metric

MOST_METRICS, MOST_PARAMS, LONGEST_PARAM = 1000, 100, 500
"""What MLflow takes in one request, and characters of a parameter's value."""

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Unless the environment has others. By default, MLflow reports its use to its makers, retries a
server that is away for minutes (here the next round is the next try), and prints a run's address
into the display of the run."""


class MLflow(View):
    """Logs each round's figures; the step is the round, the experiment the federation's name.

    What a server that is away has missed is sent when it is back. A run that goes on in the same
    folder goes on as the same run of MLflow.

    Args:
        config: the federation's resolved configuration.
        uri: of the tracking server, or any other that MLflow knows.
        folder: the run folder.

    Raises:
        ConfigError: MLflow does not take the URI.
    """

    def __init__(self, config: Config, uri: str, folder: Path) -> None:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient, MlflowException

        self._config = config
        self._folder = folder
        try:
            self._client = MlflowClient(uri)
        except (MlflowException, ImportError) as error:
            raise ConfigError("metrics.mlflow", str(error).partition("\n")[0]) from None
        self._run = ""
        self._unsent: list[Metric] = []

    def handle(self, event: Event) -> None:
        """Send a round's figures, after those that could not be sent before.

        Raises:
            MlflowException: the server is away.
        """
        match event:
            case RoundEvaluated(metrics):
                from mlflow.entities import Metric

                now, named = int(time.time() * 1000), scalars(metrics)
                self._unsent += [
                    Metric(name, value, now, metrics.round) for name, value in named.items()
                ]
                self._send()
            case RunFinished(summary):
                self._send()
                self._client.set_tag(self._run, "model_sha256", summary.model_sha256)
                self._client.set_terminated(self._run, "FINISHED")
                self._run = ""

    def close(self) -> None:
        """Say that a run has stopped that is not finished."""
        if self._run:
            self._send()
            self._client.set_terminated(self._run, "KILLED")

    def _send(self) -> None:
        self._run = self._run or self._begin()
        while self._unsent:
            self._client.log_batch(self._run, metrics=self._unsent[:MOST_METRICS])
            del self._unsent[:MOST_METRICS]

    def _begin(self) -> str:
        """Return the run's identifier at the server; a run folder's first process makes the run."""
        file = self._folder / "mlflow.id"
        if file.exists():
            run: str = file.read_text(encoding="utf-8").strip()
            self._client.update_run(run, status="RUNNING")
            return run
        name = self._config.name
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self._client.create_experiment(name)
        label = self._folder.resolve().name
        run = self._client.create_run(experiment, run_name=label).info.run_id
        file.write_text(f"{run}\n", encoding="utf-8")
        self._describe(run)
        return run

    def _describe(self, run: str) -> None:
        """Log the configuration as the run's parameters."""
        from mlflow.entities import Param

        params = [
            Param(key, str(value)[:LONGEST_PARAM]) for key, value in described(self._config).items()
        ]
        for start in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(run, params=params[start : start + MOST_PARAMS])
