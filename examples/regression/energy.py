"""The next hour's electricity use from the last day's: a task of one's own, in one file."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

import hierfl

HOURS = 24


class Energy(hierfl.Task):
    """A regression with a loss of its own, which does not follow single peaks."""

    def load(self, node: hierfl.Node) -> hierfl.Data:
        """Return what this house's meter has measured, as pairs of a day and the hour after it."""
        used = np.loadtxt(node.root / "meter.csv", np.float32, skiprows=1)
        windows = torch.from_numpy(used).unfold(0, HOURS + 1, 1)  # [n, 25], no copy
        cut = len(windows) * 9 // 10  # judged by the last weeks, which come after all others
        train, test = windows[: cut - HOURS], windows[cut:]
        return hierfl.Data(
            TensorDataset(train[:, :HOURS], train[:, HOURS:]),
            TensorDataset(test[:, :HOURS], test[:, HOURS:]),
        )

    def build(self, facts: hierfl.Facts) -> nn.Module:
        return nn.Sequential(nn.Linear(HOURS, 64), nn.ReLU(), nn.Linear(64, 1))

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        inputs, targets = batch
        return nn.functional.huber_loss(model(inputs), targets, delta=0.5)

    def metrics(self, model: nn.Module, batch: Any) -> dict[str, Any]:
        inputs, targets = batch
        return {
            "examples": len(inputs),
            "absolute_error": (model(inputs) - targets).abs().sum(),  # kWh
            "persistence": (inputs[:, -1:] - targets).abs().sum(),  # "as much as in this hour"
        }

    def scores(self, model: nn.Module, batch: Any) -> dict[str, torch.Tensor]:
        return {"kwh": model(batch[0])[:, 0]}
