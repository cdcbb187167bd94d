"""What is learnt, and on whose data: the one place where learning is described."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from hierfl.config import Config, Role
from hierfl.learning.prepare import Standard
from hierfl.learning.samples import Batch
from hierfl.protocol.facts import Facts

Targets = Literal["auto", "classes", "values", "none"]
Sums = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Node:
    """Whose data are asked for.

    Attributes:
        name: of the node.
        edge: the edge that it belongs to; "" at the cloud.
        role: device or cloud. Edges hold no data.
        root: the folder `data.root`, or the current one.
    """

    name: str
    edge: str
    role: Role
    root: Path


@dataclass(frozen=True)
class Data:
    """What a node holds.

    Attributes:
        train: samples to learn from: a map-style torch Dataset, which is read sample by sample, or
            tensors [n, ...] (a tensor, a tuple or a dict of them).
        test: samples to be judged by, likewise; None: there are none.
        labels: the names of classes 0, 1, ... of this node; with names, nodes may number their
            classes in their own ways. None: numbers are the same at all nodes.
        columns: names of the features.
        raw: whether inputs are in units of their own, which the topology's `data.standardize`
            then changes; what code of one's own gives is taken to be fit for the model. Images of
            bytes are always raw.
        standard: how the inputs are standardised, where that is known beforehand.
    """

    train: Any
    test: Any = None
    _: KW_ONLY
    labels: Sequence[str] | None = None
    columns: Sequence[str] = ()
    raw: bool = False
    standard: Standard | None = None


@dataclass(frozen=True)
class Form:
    """What a model that `model` names is for.

    Attributes:
        shape: of one input; None where that is not one tensor.
        classes: how many values it gives, for each place of an input where it gives some for each.
        outputs: the shape of what it gives for one input; None: any.
    """

    shape: tuple[int, ...] | None
    classes: int
    outputs: tuple[int, ...] | None


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
        from hierfl.learning.datasets import load_named

        return load_named(self.config, node, self.targets)

    def build(self, facts: Facts) -> nn.Module:
        """Return the model, with its first weights: torch's generator is seeded for them.

        Args:
            facts: of all nodes' data together.
        """
        from hierfl.learning.models import build_model

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
