"""Figures of a run for Weights & Biases."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import wandb
from wandb.errors import Error

from cloud.exporters.figures import scalars
from cloud.views.base import Event, RoundEvaluated, RunFinished, TrainingStarted, View
from hierfl.config import Config
from hierfl.config.dotted import described

INIT_S = 10.0
"""Seconds in which W&B's server must have answered."""


class WandB(View):
    """Logs each round's figures; the step is the round.

    Where the server does not answer, or there is no key for it, the figures are kept in the run
    folder, from which `wandb sync` sends them. A run that goes on in the same folder goes on as the
    same run of W&B.

    Args:
        config: the federation's resolved configuration.
        project: W&B's project.
        folder: the run folder.
    """

    def __init__(self, config: Config, project: str, folder: Path) -> None:
        self._config = config
        self._project = project
        self._folder = folder
        self._run: wandb.Run | None = None

    def handle(self, event: Event) -> None:
        """Begin a run of W&B with the training, and log each round's figures.

        Raises:
            ConnectionError: they are kept in the folder alone.
        """
        match event:
            case TrainingStarted() if self._run is None:
                self._open()
            case RoundEvaluated(metrics) if self._run is not None:
                self._run.log(scalars(metrics), step=metrics.round)
            case RunFinished(summary) if self._run is not None:
                self._run.summary["model_sha256"] = summary.model_sha256

    def close(self) -> None:
        """Let the library send what waits."""
        if self._run is not None:
            self._run.finish()

    def _open(self) -> None:
        try:
            self._run = self._init()
        except Error as error:
            self._run = self._init(mode="offline")
            raise ConnectionError(
                f"{str(error) or type(error).__name__}; the figures are kept in "
                f"{self._folder / 'wandb'}, and `wandb sync` sends them"
            ) from None

    def _init(self, **how: Any) -> wandb.Run:
        return wandb.init(
            project=self._project,
            name=self._folder.resolve().name,
            id=self._identity(),
            resume="allow",
            dir=self._folder,
            config=described(self._config),
            settings=wandb.Settings(console="off", silent=True, init_timeout=INIT_S),
            **how,
        )

    def _identity(self) -> str:
        """Return the run's identifier, which its first process makes."""
        file = self._folder / "wandb.id"
        if not file.exists():
            file.write_text(f"{secrets.token_hex(6)}\n", encoding="utf-8")
        return file.read_text(encoding="utf-8").strip()
