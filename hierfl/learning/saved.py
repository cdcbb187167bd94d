"""The model that a run has left: its configuration, what was known of the data, and the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from hierfl.config import Config, load_config
from hierfl.errors import ConfigError, PayloadError
from hierfl.learning.flat_model import FlatModel
from hierfl.learning.model_file import start_from
from hierfl.learning.setup import model_for
from hierfl.learning.task import Task
from hierfl.learning.tasks import make_task
from hierfl.protocol.facts import Facts

FACTS = "facts.json"
"""Beside a run's model: the facts about all nodes' data together."""


@dataclass(frozen=True)
class SavedModel:
    """The model of a run that has ended.

    Attributes:
        folder: the run folder.
        config: its configuration.
        task: what was learnt.
        facts: of all nodes' data.
    """

    folder: Path
    config: Config
    task: Task
    facts: Facts

    def model(self) -> nn.Module:
        """Return the model with its weights, in evaluation mode.

        Raises:
            ConfigError: the file is not there, or not of this model.
        """
        module = self.flat().module
        return module.eval()

    def flat(self) -> FlatModel:
        """Return the model with its weights, in training mode; see `model`."""
        model = model_for(self.config, self.task, self.facts)
        start_from(model, self.folder / "model.safetensors", "RUN")
        return model


def load_model(folder: Path | str) -> SavedModel:
    """Return what a run has left in its folder.

    Its own modules are looked for where those of a topology file are.

    Raises:
        ConfigError: it holds no run that has ended.
    """
    folder = Path(folder)
    for name in ("config.yaml", FACTS, "model.safetensors"):
        if not (folder / name).is_file():
            raise ConfigError("RUN", f"{folder} holds no {name}", "Name a run that has ended.")
    config = load_config(folder / "config.yaml")
    try:
        facts = Facts.from_bytes((folder / FACTS).read_bytes())
    except (OSError, PayloadError) as error:
        raise ConfigError("RUN", f"{folder / FACTS}: {error}") from error
    task = make_task(config)
    task.facts = facts
    return SavedModel(folder, config, task, facts)
