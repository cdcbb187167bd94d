"""What a task, a data set and a model say to each other: whose data, what they are, what form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Literal

from hierfl.config import Role
from hierfl.learning.prepare import Standard

Targets = Literal["auto", "classes", "values", "none"]


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
