"""What an algorithm is: pure functions around bytes, and each role's state in one place.

The machinery (device, edge, cloud, link, log) knows nothing of an algorithm but this interface:

- a device turns a gradient into its *ballot* for a step;
- an edge adds ballots as they arrive and closes the step with one *decision*;
- every replica applies the decision to its model, bit for bit alike;
- the edge's *report* closes the round;
- the cloud turns the reports into the *change* of the global model.

Two things are for those algorithms that derive from them too: `RoundOpening`, an exchange more at a
round's start, and `LocalSteps`, several gradients to a ballot. The others cost nothing.

An algorithm is a bundle of pure functions: a node may share one with other nodes of its process.
A role's `State` is a dictionary of arrays: all that an algorithm remembers from one round to the
next, changed in place, saved and restored by the machinery.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from hierfl.codecs.base import AnyCodec
from hierfl.errors import PayloadError
from hierfl.numerics.layout import Layout
from hierfl.numerics.rng import generator
from hierfl.numerics.wireless import Air

Scalar = str | int | float | bool
State = dict[str, np.ndarray]
UplinkKind = Literal["tally", "contraction", "unbiased"]


@dataclass(frozen=True)
class Settings:
    """What an algorithm may know of the configuration.

    Attributes:
        seed: the federation's seed.
        steps: T, the steps of a round.
        momentum: beta in [0, 1).
        participation: the share of a cluster's devices that take part in a round.
        tie: what an edge does with a tie: random, zero or keep.
        options: the keys under `algorithm.options`, for an algorithm of the user's own.
        uplink: the codec of the reports; None: the algorithm's own.
        air: the radio channel from the devices to their edge; None: nothing is lost there.
    """

    seed: int = 1
    steps: int = 15
    momentum: float = 0.9
    participation: float = 1.0
    tie: str = "random"
    options: Mapping[str, Scalar] = field(default_factory=dict)
    uplink: AnyCodec | None = None
    air: Air | None = None


@dataclass(frozen=True)
class Step:
    """Where and when something is computed.

    Attributes:
        seed: the federation's seed.
        node: the name of the node that computes.
        round: t, from 1.
        step: s, from 1 to T; 0 for what happens once a round.
        lr: the learning rate, constant within the round.
        weight: at a device, K n_k / n_q: its share of the cluster's samples times the number of
            devices in the cluster, 1 where all hold equally much. Elsewhere 1.
    """

    seed: int
    node: str
    round: int
    step: int
    lr: np.float32
    weight: float = 1.0

    def draw(self, purpose: str) -> np.random.Generator:
        """Return the generator for one purpose in this step at this node."""
        return generator(self.seed, self.node, self.round, self.step, purpose)


class PayloadLengths(NamedTuple):
    """The usual lengths of what an algorithm sends, in bytes.

    Attributes:
        ballot: from a device to its edge, a step.
        decision: from an edge to its devices, a step.
        report: from an edge to the cloud, a round.
    """

    ballot: int
    decision: int
    report: int


@dataclass(frozen=True)
class WeightedReport:
    """One edge's report: its share p_q of the samples that took part, and its bytes."""

    share: float
    payload: bytes


@dataclass(frozen=True)
class Change:
    """What the cloud makes of the reports.

    Attributes:
        model: float32[d], to be added to the base by every node (through the downlink's codec).
        edges: bytes for the edges alone.
    """

    model: np.ndarray
    edges: bytes = b""


class EdgeRound(ABC):
    """One round at one edge: the count of its ballots."""

    @abstractmethod
    def add(self, device: int, ballot: bytes) -> None:
        """Add a ballot to the open step.

        Args:
            device: the sender's position in the cluster.
            ballot: what its `Algorithm.ballot` returned.

        Raises:
            PayloadError: if the bytes are no ballot of this algorithm. Nothing is added then.
        """

    @abstractmethod
    def decide(self, at: Step) -> bytes:
        """Close the step, to which at least one ballot was added, and return its decision."""

    @abstractmethod
    def report(self, at: Step) -> bytes:
        """Close the round and return the report.

        Args:
            at: the round's last step, which was decided.
        """


class Algorithm(ABC):
    """One algorithm, for one model: pure functions of their arguments, `layout` and `settings`.

    Counting bits commutes, adding floats does not: an algorithm whose ballots are floats adds
    them in the order of the devices' positions, whatever the order of arrival.

    Args:
        layout: the model's tensors.
        settings: what of the configuration it may depend on.
    """

    lr: ClassVar[Mapping[str, float]] = {"default": 0.002, "mlp": 0.001}
    """The learning rate for each built-in model where the configuration names none."""
    downlink: ClassVar[str] = "sign"
    """The downlink's codec where the configuration names none."""
    uplink: ClassVar[str] = "tally"
    """The codec of a report where the configuration names none; "tally" is an exact count."""
    uplink_kind: ClassVar[UplinkKind] = "tally"
    """Which codecs a report may have. "tally": none, it is a count, which goes up exactly.
    "contraction": any codec that contracts, for the edges keep a residual. "unbiased": any unbiased
    codec, for they keep none."""
    over_the_air: ClassVar[bool] = False
    """Whether its ballots are vectors whose weighted mean a radio channel can take."""

    sign_votes: ClassVar[bool] = False
    """Whether all that a device sends is signs, each ballot's made of one more gradient: what
    `privacy` asks of an algorithm."""

    def __init__(self, layout: Layout, settings: Settings) -> None:
        self.layout = layout
        self.settings = settings

    # -- device ----------------------------------------------------------------------------------

    def device_state(self) -> State:
        """Return a device's state before its first step."""
        return {}

    @abstractmethod
    def ballot(self, state: State, gradient: np.ndarray, at: Step) -> bytes:
        """Return a device's ballot for a step.

        Args:
            state: the device's state.
            gradient: float32[d], finite; the algorithm must not keep or change it.
            at: the step.
        """

    @abstractmethod
    def apply(self, weights: np.ndarray, decision: bytes, at: Step) -> None:
        """Apply a decision to a replica's weights, float32[d], in place.

        Raises:
            PayloadError: if the bytes are no decision of this algorithm.
        """

    def learn(self, state: State, own: np.ndarray, change: np.ndarray, at: Step) -> None:
        """Take note, at a device that moves on to the next base, of where the round has led.

        Args:
            state: the device's state.
            own: float32[d], how far the cluster's decisions have moved its weights.
            change: float32[d], by how much the base of all nodes moves.
            at: the round, and how many decisions `own` is made of: T - 1 at a device that was
                there to the end, for the next base stands for the last one.
        """
        return

    # -- edge ------------------------------------------------------------------------------------

    def edge_state(self) -> State:
        """Return an edge's state before its first round."""
        return {}

    @abstractmethod
    def edge_round(self, state: State, examples: Sequence[int]) -> EdgeRound:
        """Open a round at an edge whose devices hold `examples` samples each."""

    def observe(self, state: State, change: np.ndarray) -> None:  # noqa: B027
        """Learn at an edge, which moves to the next base, by what the base changes.

        Args:
            state: the edge's state.
            change: float32[d], as all nodes have it.
        """

    def receive(self, state: State, payload: bytes) -> None:
        """Take what the cloud's `Change.edges` says to edges alone, before the next round.

        Raises:
            PayloadError: if the bytes are nothing that it says; as here, where it says nothing.
        """
        raise PayloadError(f"{len(payload)} bytes for edges, to whom this algorithm says nothing")

    # -- cloud -----------------------------------------------------------------------------------

    def cloud_state(self) -> State:
        """Return the cloud's state before its first round."""
        return {}

    @abstractmethod
    def change(self, state: State, reports: Sequence[WeightedReport], at: Step) -> Change:
        """Turn a round's reports, in the edges' order, into the change of the global model.

        Raises:
            PayloadError: if some bytes are no report of this algorithm. The state is then as it
                was.
        """

    # -- sizes, for the plan of bytes and the limits of the link ----------------------------------

    @abstractmethod
    def sizes(self) -> PayloadLengths:
        """Return the usual length of a ballot, a decision and a report."""
