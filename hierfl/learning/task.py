"""What is learnt, and on whose data: the one place where learning is described."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from hierfl.config import Config
from hierfl.learning.data import Data, Form, Node, Targets
from hierfl.learning.datasets import load_named
from hierfl.learning.models import build_model
from hierfl.learning.samples import Batch
from hierfl.protocol.facts import Facts

Sums = Mapping[str, torch.Tensor]


class Task:
    """A subclass overrides what differs.

    As it is, `load` gives the data set that `data.dataset` names, and `build` the model that
    `model` names. Both may be left alone: `loss` and `metrics` are what a task must say.

    Attributes:
        config: the federation's configuration; hierfl sets it before it calls anything.
        facts: of all nodes' data; set before `build`.
        targets: how samples' targets are taken: as classes, as real values, not at all, or
            (`auto`) as their type says.
    """

    config: Config
    facts: Facts
    targets: ClassVar[Targets] = "auto"

    def load(self, node: Node) -> Data:
        """Return what a node holds."""
        return load_named(self.config, node, self.targets)

    def build(self, facts: Facts) -> nn.Module:
        """Return the model, with its first weights: torch's generator is seeded for them.

        Args:
            facts: of all nodes' data together.
        """
        return build_model(self.config.model, self.form(facts), facts, self.config.seed)

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Return the mean loss over a batch, a scalar; what it draws from torch is keyed.

        Args:
            model: in training mode for gradients, in evaluation mode for metrics.
            batch: k samples: what a Dataset gives, collated, or (inputs, targets).
        """
        raise NotImplementedError

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Any]:
        """Return sums over a batch, and in "examples" over how many samples.

        Sums may be numbers or tensors of any shape. Without "loss", that is `loss` weighted with
        the number of examples.
        """
        raise NotImplementedError

    def compute(self, sums: Sums) -> dict[str, float]:
        """Return the figures that the sums over all samples, float64, come to.

        As it is: each scalar divided by the number of examples.
        """
        examples = float(sums["examples"])
        return {
            name: float(value) / examples
            for name, value in sums.items()
            if name != "examples" and value.ndim == 0
        }

    def scores(self, model: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """Return figures of each sample of a batch, [k] each, for `hierfl evaluate --out`."""
        raise NotImplementedError

    def form(self, facts: Facts) -> Form:
        """Return what a model that `model` names is given, and is to give."""
        return Form(facts.shape, facts.classes, None)
