"""Which exporters a configuration asks for."""

from __future__ import annotations

from pathlib import Path

from cloud.views.background import Background
from cloud.views.base import View
from hierfl.config import Config
from hierfl.errors import ConfigError


def exporters(config: Config, folder: Path) -> list[View]:
    """Return the views of the section `metrics`, each in a thread of its own.

    Args:
        config: the federation's resolved configuration.
        folder: the run folder.

    Raises:
        ConfigError: a library is not installed, or an address is none of this machine's.
        RunFailed: another program has the port.
    """
    asked, views = config.metrics, list[View]()
    try:
        if asked.prometheus is not None:
            from cloud.exporters.prometheus import Prometheus

            views.append(Background(Prometheus(config, asked.prometheus), "prometheus"))
        if asked.tensorboard:
            from cloud.exporters.tensorboard import TensorBoard

            views.append(Background(TensorBoard(folder / "tensorboard"), "tensorboard"))
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        extra = {"prometheus_client": "prometheus", "tensorboard": "tensorboard"}.get(missing)
        if extra is None:
            raise
        raise ConfigError(
            f"metrics.{extra}", f"{missing} is not installed", f"pip install 'hierfl[{extra}]'"
        ) from None
    return views
