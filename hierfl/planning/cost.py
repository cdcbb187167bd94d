"""What a federation of any size takes: bytes, time, processor, memory and money of each tier.

Bytes are those of `hierfl.planning.forecast`. Processor times and memory are computed from what
`hierfl loadtest` has measured, times on links from their rates and delays. In a round of T steps,
with K devices at each of Q edges,

    step  = gradient + rtt + up + down + decision + K * ballot
    round = T * step + rtt + down + edge_round + K * base
            + rtt + up + down + cloud_round + Q * report

of which the first rtt, up and down are those of a device's link, the last ones of an edge's, and
all that is left are the processor times of `Constants`. Nothing overlaps in this model: all devices
of an edge are equally fast, so that their ballots arrive together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hierfl.config import Config
from hierfl.planning.forecast import forecast
from hierfl.planning.plan import Plan

GB = 1e9
HOUR_S = 3600.0


@dataclass(frozen=True)
class Line:
    """Seconds, or bytes, that grow with the model: a + b d.

    Attributes:
        fixed: a.
        coordinate: b, for each of the model's d coordinates.
    """

    fixed: float
    coordinate: float

    def at(self, d: int) -> float:
        """Return what a model of d parameters takes."""
        return self.fixed + self.coordinate * d


@dataclass(frozen=True)
class Constants:
    """What `hierfl loadtest` has measured; docs/scale.md says how, and on which machine.

    Attributes:
        ballot, decision: an edge's processor time in a step, for each device and for itself.
        base, edge_round: the same in a round, beside its steps.
        report, cloud_round: the cloud's processor time in a round, for each edge and for itself.
        device_memory: bytes that a device takes at its edge.
        node_memory: bytes of an edge's or a cloud's process.
    """

    ballot: Line = Line(2.4e-4, 1.6e-10)
    decision: Line = Line(4.0e-4, 3.0e-10)
    base: Line = Line(4.0e-4, 2.0e-11)
    edge_round: Line = Line(6.0e-3, 2.2e-8)
    report: Line = Line(1.6e-3, 2.3e-9)
    cloud_round: Line = Line(5.0e-3, 9.4e-8)
    device_memory: Line = Line(5.5e4, 1.2)
    node_memory: Line = Line(8.5e7, 28.0)


MEASURED = Constants()


@dataclass(frozen=True)
class Wire:
    """A node's link to its parent.

    Attributes:
        up, down: bits per second; infinite: not limited.
        rtt: seconds there and back.
    """

    up: float = math.inf
    down: float = math.inf
    rtt: float = 0.0

    def seconds(self, up: float, down: float) -> float:
        """Return how long so many bytes take, there and back."""
        return self.rtt + 8 * up / self.up + 8 * down / self.down


@dataclass(frozen=True)
class Prices:
    """What is paid for, in any currency.

    Attributes:
        core: an hour of a processor core of an edge or a cloud, which is paid for as long as the
            run takes.
        gb: a gigabyte that an edge or a cloud sends.
    """

    core: float
    gb: float


@dataclass(frozen=True)
class Tier:
    """What one node of a tier takes, in a round.

    Attributes:
        name: device, edge or cloud.
        nodes: how many there are.
        up, down: bytes of payload that a node sends its parent, and is sent by it.
        processor: seconds; without gradients.
        memory: bytes; 0 where it is not known.
        money: of all nodes of the tier over the whole run.
    """

    name: str
    nodes: int
    up: float
    down: float
    processor: float
    memory: float
    money: float


@dataclass(frozen=True)
class Cost:
    """What a federation takes.

    Attributes:
        tiers: devices, edges, cloud.
        parts: what a round's time is made of, s.
        rounds: of the run.
        payload: bytes on all links over the whole run.
    """

    tiers: tuple[Tier, ...]
    parts: Mapping[str, float]
    rounds: int
    payload: int

    @property
    def round_s(self) -> float:
        """How long a round takes."""
        return sum(self.parts.values())

    @property
    def bottleneck(self) -> str:
        """What takes most of a round."""
        return max(self.parts, key=lambda part: self.parts[part])


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        devices: how many there are.
        edges: how many there are; None: as many as make a round shortest.
        device: a device's link.
        edge: an edge's link.
        gradient: seconds of a device's gradient.
        prices: what is paid for; None: nothing is known of that.
    """

    devices: int
    edges: int | None = None
    device: Wire = Wire()
    edge: Wire = Wire()
    gradient: float = 0.0
    prices: Prices | None = None


def best_edges(config: Config, d: int, devices: int, measured: Constants = MEASURED) -> int:
    """Return how many edges make a round shortest.

    More edges count fewer devices each, and the cloud averages more reports: N/Q times an edge's
    time for a device and round, and Q times the cloud's for a report, add up to least where both
    are equal.
    """
    steps = config.algorithm.edge_steps
    device = steps * measured.ballot.at(d) + measured.base.at(d)
    return min(devices, max(1, round(math.sqrt(devices * device / measured.report.at(d)))))


def cost(config: Config, plan: Plan, asked: Question, measured: Constants = MEASURED) -> Cost:
    """Return what a configuration takes with so many devices.

    Args:
        config: a resolved configuration; its tree does not matter.
        plan: what it means for the model.
        asked: the size, the links and the prices.
        measured: what nodes take.
    """
    d, settings, sizes = plan.algorithm.layout.d, config.algorithm, plan.sizes
    edges = asked.edges or best_edges(config, d, asked.devices, measured)
    clusters = [len(range(i, asked.devices, edges)) for i in range(edges)]
    steps, rounds, most = settings.edge_steps, settings.rounds, max(clusters)
    sent = forecast(config, plan, clusters=clusters).payload()
    awake = max(1.0, settings.participation * most)
    counting = measured.decision.at(d) + awake * measured.ballot.at(d)
    bringing = measured.edge_round.at(d) + most * measured.base.at(d)
    averaging = measured.cloud_round.at(d) + edges * measured.report.at(d)
    device, edge = asked.device, asked.edge
    parts = {
        "gradients": steps * asked.gradient,
        "device links": steps * device.seconds(sizes.ballot, sizes.decision)
        + device.seconds(0, sizes.downlink),
        "edges' processors": steps * counting + bringing,
        "edge links": edge.seconds(sizes.report, sizes.downlink),
        "the cloud's processor": averaging,
    }
    seconds = rounds * sum(parts.values())

    def money(nodes: int, out: float) -> float:
        prices = asked.prices
        if prices is None:
            return 0.0
        return nodes * seconds / HOUR_S * prices.core + out / GB * prices.gb

    def node(link: str, nodes: int) -> float:
        return sent[link] / (nodes * rounds)

    models, each = measured.node_memory.at(d), measured.device_memory.at(d)
    tiers = (
        Tier(
            "device", asked.devices, node("device_up", asked.devices),
            node("device_down", asked.devices), 0.0, 0.0, 0.0,
        ),
        Tier(
            "edge", edges, node("edge_up", edges), node("edge_down", edges),
            steps * counting + bringing, models + most * each,
            money(edges, sent["device_down"] + sent["edge_up"]),
        ),
        Tier("cloud", 1, 0.0, 0.0, averaging, models, money(1, sent["edge_down"])),
    )  # fmt: skip
    return Cost(tiers, parts, rounds, sum(sent.values()))
