"""What a run writes about itself: a line of metrics.jsonl a round, and summary.json at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

ByLink = Mapping[str, int]
"""A count of bytes or messages -> on each of the four links: device_up, device_down, edge_up,
edge_down. Up is towards the cloud; each is summed over all nodes."""


@dataclass(frozen=True)
class RoundMetrics:
    """A round that is done and evaluated: a line of metrics.jsonl.

    Attributes:
        round: t, from 1.
        steps: the steps of all rounds so far, of one cluster.
        wall_s: seconds since the first step, of earlier processes too.
        loss: on the test set.
        accuracy: on the test set, 0 to 1.
        train_loss: the mean over the minibatches of the round's ballots.
        lr: the round's learning rate.
        bytes: payload so far.
        quorum: edge -> the smallest number of ballots that a step of the round had.
        wire: on a testbed, bytes that the interfaces have carried so far.
    """

    round: int
    steps: int
    wall_s: float
    loss: float
    accuracy: float
    train_loss: float
    lr: float
    bytes: ByLink
    quorum: Mapping[str, int]
    wire: ByLink | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data; what does not exist is left out."""
        return _without_none(asdict(self))


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
        accuracy: of the last model, 0 to 1.
        loss: of the last model.
        wall_s: seconds from the first step to the last node at the last base.
        steps_per_s: over the rounds.
        model_sha256: of the last base, in hex.
        bytes: payload.
        messages: bytes of whole messages, as gRPC was handed them.
        faults: kind -> how many were survived.
        wire: on a testbed, bytes that the interfaces have carried.
    """

    algorithm: str
    model: str
    parameters: int
    devices: int
    edges: int
    rounds: int
    steps: int
    accuracy: float
    loss: float
    wall_s: float
    steps_per_s: float
    model_sha256: str
    bytes: ByLink
    messages: ByLink
    faults: Mapping[str, int]
    wire: ByLink | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data; what does not exist is left out."""
        return _without_none(asdict(self))


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
