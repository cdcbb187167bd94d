"""What a run's figures are called, for all exporters; `docs/watching.md` has them as a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cloud.metrics import RoundMetrics
from cloud.views.base import Event, RunFinished
from cloud.views.progress import EdgeStatus, Snapshot, Tracker
from hierfl.config import Config

Values = Mapping[str, float | None]
"""The label's value -> a figure; a figure without a label has one value, of ""."""


@dataclass(frozen=True)
class Seen:
    """What is known of a run at one moment: how far it is, and whether it is done."""

    snapshot: Snapshot
    done: bool


@dataclass(frozen=True)
class Figure:
    """A figure with at most one label, beside the federation's name.

    Attributes:
        name: without the `_total` that Prometheus adds to a counter.
        words: its meaning.
        values: of what is known.
        label: the label's name; "": there is none.
        counts: whether it only grows.
    """

    name: str
    words: str
    values: Callable[[Seen], Values]
    label: str = ""
    counts: bool = False

    def known(self, seen: Seen) -> dict[str, float]:
        """Return the values that are known."""
        values = self.values(seen)
        return {key: float(value) for key, value in values.items() if value is not None}


def _of_round(value: Callable[[RoundMetrics], float | None]) -> Callable[[Seen], Values]:
    """Return a figure of the last round."""
    return lambda seen: {"": value(last)} if (last := seen.snapshot.metrics) else {}


def _by_name(values: Callable[[RoundMetrics], Values]) -> Callable[[Seen], Values]:
    """Return figures of the last round, with a label."""
    return lambda seen: values(last) if (last := seen.snapshot.metrics) else {}


def _of_edges(value: Callable[[EdgeStatus], float | None]) -> Callable[[Seen], Values]:
    """Return a figure of each edge."""
    return lambda seen: {edge.name: value(edge) for edge in seen.snapshot.edges}


FIGURES = (
    Figure("hierfl_done", "Whether the run is done.", lambda seen: {"": float(seen.done)}),
    Figure("hierfl_round", "The last round that is done.", _of_round(lambda last: last.round)),
    Figure(
        "hierfl_steps", "Steps of one cluster.", _of_round(lambda last: last.steps), counts=True
    ),
    Figure(
        "hierfl_metric", "A figure of the model.", _by_name(lambda last: last.figures), "metric"
    ),
    Figure("hierfl_train_loss", "Loss in training.", _of_round(lambda last: last.train_loss)),
    Figure("hierfl_learning_rate", "The round's learning rate.", _of_round(lambda last: last.lr)),
    Figure(
        "hierfl_payload_bytes",
        "Payload on a link.",
        _by_name(lambda last: last.bytes),
        "link",
        counts=True,
    ),
    Figure(
        "hierfl_edge_attached",
        "Whether an edge is there.",
        _of_edges(lambda edge: edge.attached),
        "edge",
    ),
    Figure(
        "hierfl_edge_devices",
        "Devices that are there.",
        _of_edges(lambda edge: edge.here),
        "edge",
    ),
    Figure(
        "hierfl_edge_voters",
        "Devices in the last step.",
        _of_edges(lambda edge: edge.last.voters if edge.last else None),
        "edge",
    ),
    Figure(
        "hierfl_edge_steps_per_second",
        "An edge's pace.",
        _of_edges(lambda edge: edge.last.steps_per_s if edge.last else None),
        "edge",
    ),
)
"""For Prometheus and OpenTelemetry: figures with labels, as they are now."""


class Latest:
    """Takes events, from any thread, and keeps what figures are made of.

    Args:
        config: the federation's resolved configuration.
    """

    def __init__(self, config: Config) -> None:
        self._tracker = Tracker(config)
        self._done = False

    def handle(self, event: Event) -> None:
        """Take an event."""
        self._tracker.handle(event)
        self._done = self._done or isinstance(event, RunFinished)

    def seen(self) -> Seen:
        """Return what is known now."""
        return Seen(self._tracker.snapshot(), self._done)


def scalars(metrics: RoundMetrics) -> dict[str, float]:
    """Return a round's figures, one number a name, for TensorBoard, MLflow and W&B.

    The first part of a name is a group. Letters that not all of the three take become `_`.
    """
    figures = {f"model/{name}": value for name, value in metrics.figures.items()}
    others = {
        "training/loss": metrics.train_loss,
        "training/lr": metrics.lr,
        "training/seconds": metrics.wall_s,
        **{f"bytes/{link}": float(sent) for link, sent in metrics.bytes.items()},
        **{f"quorum/{edge}": float(voters) for edge, voters in metrics.quorum.items()},
    }
    return {
        re.sub(r"[^\w./-]", "_", name): value
        for name, value in (figures | others).items()
        if value is not None
    }
