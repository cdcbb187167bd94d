"""What a run writes about itself: a line of metrics.jsonl a round, and summary.json at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from hierfl.errors import ConfigError
from hierfl.runs.strict_json import strict

ByLink = Mapping[str, int]
"""A count of bytes or messages -> on each of the four links: device_up, device_down, edge_up,
edge_down. Up is towards the cloud; each is summed over all nodes."""


Figures = Mapping[str, float | None]
"""How good a model is: the loss and the task's metrics, by name. None: no finite number came out;
no names: nobody has looked, because the cloud holds no data to evaluate on."""


@dataclass(frozen=True)
class Worst:
    """The worst device's figure. Its name stays at its edge, whose log has it.

    Attributes:
        metric: `evaluate.metric`.
        value: the device's; None: no finite number.
        edge: the device's edge.
    """

    metric: str
    value: float | None
    edge: str


@dataclass(frozen=True)
class RoundMetrics:
    """A round that is done and evaluated: a line of metrics.jsonl.

    Attributes:
        round: t, from 1.
        steps: the steps of all rounds so far, of one cluster.
        wall_s: seconds since the first step, of earlier processes too.
        figures: of the model after the round.
        worst: where devices have judged it, the worst device's figure.
        train_loss: the mean over the minibatches of the round's ballots; None with `report_loss:
            false`.
        lr: the round's learning rate.
        bytes: payload so far.
        quorum: edge -> the smallest number of ballots that a step of the round had.
        wire: on a testbed, bytes that the interfaces have carried so far.
        epsilon: with `privacy`, what each device has spent of its budget so far.
    """

    round: int
    steps: int
    wall_s: float
    figures: Figures
    train_loss: float | None
    lr: float
    bytes: ByLink
    quorum: Mapping[str, int]
    worst: Worst | None = None
    wire: ByLink | None = None
    epsilon: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data, each figure by itself; what does not exist is left out.

        Raises:
            ConfigError: if a figure has the name of something else.
        """
        for name in self.figures:
            if name in _OTHERS:
                raise ConfigError("task", f"a metric cannot be named {name!r}: a round has its own")
        return _as_json(asdict(self))


@dataclass(frozen=True)
class Summary:
    """A run that is over: summary.json.

    Attributes:
        algorithm: `algorithm.name`.
        model: `model`.
        parameters: d.
        devices: in the topology.
        edges: in the topology.
        rounds: of the run.
        steps: of the run, of one cluster.
        figures: of the last model.
        worst: where devices have judged it, the worst device's figure.
        stopped: why the run ended before its last round, if it did.
        best: the best evaluation, by `evaluate.metric`: its round and its value.
        wall_s: seconds from the first step to the last node at the last base.
        steps_per_s: over the rounds.
        model_sha256: of the last base, in hex.
        bytes: payload.
        float32: what the payload would have been with 32 bits a coordinate.
        messages: bytes of whole messages, as gRPC was handed them.
        faults: kind -> how many were survived.
        wire: on a testbed, bytes that the interfaces have carried.
        metrics_missing: how many lines of metrics.jsonl were lost, if any.
        privacy: with `privacy`, what each device has spent: epsilon, delta, noise_multiplier.
    """

    algorithm: str
    model: str
    parameters: int
    devices: int
    edges: int
    rounds: int
    steps: int
    figures: Figures
    wall_s: float
    steps_per_s: float
    model_sha256: str
    bytes: ByLink
    float32: ByLink
    messages: ByLink
    faults: Mapping[str, int]
    worst: Worst | None = None
    stopped: str | None = None
    best: Mapping[str, float] | None = None
    wire: ByLink | None = None
    metrics_missing: int | None = None
    privacy: Mapping[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data, each figure by itself; what does not exist is left out."""
        return _as_json(asdict(self))


def figures_in(line: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the model's figures out of a line of metrics.jsonl."""
    return {name: value for name, value in line.items() if name not in _OTHERS}


def figures_text(figures: Figures) -> str:
    """Return figures for a person, the loss last; "" if there are none.

    >>> figures_text({"loss": 0.25, "accuracy": 0.875, "r2": None})
    'accuracy 87.50%  r2 -  loss 0.2500'
    """
    ordered = [name for name in figures if name != "loss"] + ["loss"] * ("loss" in figures)
    return "  ".join(f"{name} {_figure(name, figures[name])}" for name in ordered)


def worst_text(worst: Worst | None) -> str:
    """Return the worst device's figure for a person; "" if there is none.

    >>> worst_text(Worst("accuracy", 0.5, "east"))
    'worst device accuracy 50.00% (east)'
    """
    if worst is None:
        return ""
    return f"worst device {worst.metric} {_figure(worst.metric, worst.value)} ({worst.edge})"


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2%}" if name == "accuracy" else f"{value:.4f}"


def _as_json(values: dict[str, Any]) -> dict[str, Any]:
    """Put each figure where `figures` stands, leave out what is None, and be strict."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if name == "figures":
            flat |= strict(value)
        elif value is not None:
            flat[name] = strict(value)
    return flat


_OTHERS = {field.name for field in fields(RoundMetrics)} - {"figures"}
