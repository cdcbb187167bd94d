"""What a run will send over each link, in bytes of payload, beside what float32 would send.

The forecast takes every node to be there at every step that it takes part in. It is exact where the
algorithm's and the codec's sizes are, which ties that hold a coordinate (`tie: zero`) make larger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hierfl.config import Config
from hierfl.config.quantities import bits_per_second
from hierfl.numerics.client_sampling import how_many
from hierfl.planning.plan import Plan

LINKS = ("device_up", "device_down", "edge_up", "edge_down")
"""The links as the run folder's files name them, each in one direction, summed over all nodes."""


@dataclass(frozen=True)
class Item:
    """One kind of payload on one link.

    Attributes:
        link: one of `LINKS`.
        what: the payload.
        per: in what time one node sends it, or is sent it, once.
        size: its length in bytes.
        float32: what its length would be with 32 bits a coordinate.
        times: how many there are of it in the whole run, over all nodes.
    """

    link: str
    what: str
    per: str
    size: int
    float32: int
    times: int


@dataclass(frozen=True)
class Forecast:
    """All that a run will send.

    Attributes:
        d: parameters of the model.
        items: what goes over the links, in their order.
    """

    d: int
    items: tuple[Item, ...]

    def payload(self) -> dict[str, int]:
        """Return the bytes on each link over the whole run."""
        return self._sum(lambda item: item.size)

    def float32(self) -> dict[str, int]:
        """Return what they would be with 32 bits a coordinate."""
        return self._sum(lambda item: item.float32)

    def _sum(self, length: Callable[[Item], int]) -> dict[str, int]:
        return {
            link: sum(length(item) * item.times for item in self.items if item.link == link)
            for link in LINKS
        }

    def float32_of(self, sent: Mapping[str, int]) -> dict[str, int]:
        """Return what float32 would have sent where this run has `sent`, by link.

        A tier whose nodes were not there at every step has sent fewer ballots or reports: float32
        would have sent less in the same proportion. Nothing is added for a node that was sent
        something twice.
        """
        planned, full = self.payload(), self.float32()
        took_part = {
            tier: min(1.0, sent[f"{tier}_up"] / planned[f"{tier}_up"])
            for tier in ("device", "edge")
        }
        return {link: round(full[link] * took_part[link.partition("_")[0]]) for link in LINKS}


def forecast(
    config: Config, plan: Plan, metrics: int = 0, clusters: Sequence[int] | None = None
) -> Forecast:
    """Return the forecast of a resolved configuration.

    In a round of T steps a device is asked T times and sent T - 1 decisions: the next base stands
    for the last one. There is one base more than there are rounds; the first one is sent whole.

    Args:
        config: the configuration.
        plan: what it means for the model.
        metrics: bytes in which a node says how good a model is; 0: none does.
        clusters: how many devices each edge has; None: as in the configuration.
    """
    sizes, d = plan.sizes, plan.algorithm.layout.d
    if clusters is None:
        clusters = [len(names) for names in config.tree().values()]
    edges, devices = len(clusters), sum(clusters)
    awake = sum(how_many(config.algorithm.participation, size) for size in clusters)
    rounds, steps = config.algorithm.rounds, config.algorithm.edge_steps
    model, extra = 4 * d, sizes.buffers

    judged = sum(r % config.evaluate.every == 0 for r in range(1, rounds + 1))
    judged += rounds % config.evaluate.every != 0

    def evaluation(link: str, nodes: int) -> Item:
        return Item(link, "metrics", "evaluation", metrics, metrics, judged * nodes * bool(metrics))

    def opening(link: str, what: str, size: int, nodes: int) -> Item:
        return Item(link, what, "round", size, model, rounds * nodes if size else 0)

    exchange = sizes.opening
    items = (
        Item("device_up", "ballot", "step", sizes.ballot, model, rounds * steps * awake),
        Item("device_up", "buffers", "round", extra, extra, rounds * awake if extra else 0),
        opening("device_up", "opening", exchange.device, awake),
        evaluation("device_up", devices),
        opening("device_down", "opening", exchange.answer, awake),
        Item(
            "device_down", "decision", "step but last",
            sizes.decision, model, rounds * (steps - 1) * awake,
        ),
        Item("device_down", "change", "round", sizes.downlink, model + extra, rounds * devices),
        Item("device_down", "model", "run", sizes.whole, model + extra, devices),
        Item("edge_up", "report", "round", sizes.report, model + extra, rounds * edges),
        evaluation("edge_up", edges),
        opening("edge_up", "opening", exchange.edge, edges),
        opening("edge_down", "opening", exchange.cloud, edges),
        Item("edge_down", "change", "round", sizes.downlink, model + extra, rounds * edges),
        Item("edge_down", "model", "run", sizes.whole, model + extra, edges),
    )  # fmt: skip
    return Forecast(d, tuple(item for item in items if item.times))


def too_slow(config: Config, expected: Forecast) -> Iterator[tuple[Item, str, float]]:
    """Yield what a testbed's links take longer for than `quorum.heartbeat`, the slowest node each.

    Signs of life wait behind it, so that node and parent may take each other for dead, again and
    again.

    Yields:
        The payload, the node's name, and how many seconds its link takes.
    """
    links = {
        name: (role, config.links.of(role, name))
        for name, role in config.roles().items()
        if role != "cloud"
    }
    for item in expected.items:
        tier, _, way = item.link.partition("_")
        rates = {name: getattr(link, way) for name, (role, link) in links.items() if role == tier}
        bits = {name: bits_per_second(rate) for name, rate in rates.items() if rate}
        if bits:
            slowest = min(bits, key=bits.__getitem__)
            seconds = 8 * item.size / bits[slowest]
            if seconds > config.quorum.heartbeat:
                yield item, slowest, seconds


def times(full: int, sent: int) -> str:
    """How many times `sent` fits into `full`, for people.

    >>> times(320, 10), times(66, 10), times(10, 0)
    ('32x', '6.6x', '-')
    """
    if not sent:
        return "-"
    ratio = full / sent
    return f"{ratio:.0f}x" if ratio >= 9.95 else f"{ratio:.1f}x"
