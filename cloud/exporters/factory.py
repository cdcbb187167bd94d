"""Which exporters a configuration asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from cloud.views.background import Background
from cloud.views.base import View
from hierfl.config import Config
from hierfl.errors import ConfigError

LIBRARIES = {
    "mlflow": "mlflow",
    "opentelemetry": "otlp",
    "prometheus_client": "prometheus",
    "tensorboard": "tensorboard",
    "wandb": "wandb",
}
"""A library -> the key of `metrics` that needs it, and the extra that brings it."""


def exporters(config: Config, folder: Path, say: Callable[[str], None]) -> list[View]:
    """Return the views of the section `metrics`, each in a thread of its own.

    Args:
        config: the federation's resolved configuration.
        folder: the run folder.
        say: is told once, as a line, what fails in each of them.

    Raises:
        ConfigError: a library is not installed, or an address is none of this machine's.
        RunFailed: another program has the port.
    """
    views = list[View]()
    try:
        for key, view in _asked(config, folder):
            views.append(Background(view, f"metrics.{key}", say))
        return views
    except Exception as error:
        for view in views:
            view.close()
        if not isinstance(error, ModuleNotFoundError):
            raise
        missing = (error.name or "").partition(".")[0]
        if missing not in LIBRARIES:
            raise
        extra = LIBRARIES[missing]
        raise ConfigError(
            f"metrics.{extra}", f"{missing} is not installed", f"pip install 'hierfl[{extra}]'"
        ) from None


def _asked(config: Config, folder: Path) -> Iterator[tuple[str, View]]:
    """Yield each view with its key; a library is imported where it is asked for."""
    asked = config.metrics
    if asked.prometheus is not None:
        from cloud.exporters.prometheus import Prometheus

        yield "prometheus", Prometheus(config, asked.prometheus)
    if asked.tensorboard:
        from cloud.exporters.tensorboard import TensorBoard

        yield "tensorboard", TensorBoard(folder / "tensorboard")
    if asked.mlflow is not None:
        from cloud.exporters.mlflow import MLflow

        yield "mlflow", MLflow(config, asked.mlflow, folder)
    if asked.wandb is not None:
        from cloud.exporters.wandb import WandB

        yield "wandb", WandB(config, asked.wandb, folder)
    if asked.otlp is not None:
        from cloud.exporters.otlp import Otlp

        yield "otlp", Otlp(config, asked.otlp)
