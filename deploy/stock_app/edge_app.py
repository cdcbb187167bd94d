"""An edge towards the cloud: a ClientApp that answers for a cluster by running a strategy on it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from deploy.stock_app.cluster_strategy import layers
from deploy.stock_app.replies import Screen, reason
from hierfl.errors import RunFailed
from hierfl.flower.mod import onebit
from hierfl.flower.strategy import OneBit
from hierfl.flower.wire import codecs_of

log = logging.getLogger(__name__)

WEIGHT = "num-examples"
"""The metric by which Flower's strategies weight, where they do not name another."""

OLDER = ("fitins.", "evaluateins.", "getparametersins.", "getpropertiesins.")
"""How Flower's older interface (`server_fn`, `NumPyClient`) names its records."""


@dataclass(frozen=True)
class Order:
    """What the cloud asks an edge for.

    Attributes:
        message: the cloud's.
        arrays_key: the name of the record that holds the model.
        config_key: the name of the record that holds the configuration.
        number: the cloud's round, from 1.
    """

    message: Message
    arrays_key: str
    config_key: str
    number: int

    @classmethod
    def of(cls, message: Message) -> Order:
        """Read the cloud's message.

        Raises:
            RunFailed: it is one that no edge can answer.
        """
        content = message.content
        if older := [key for key in content if key.startswith(OLDER)]:
            raise RunFailed(
                f"the app sends {older[0]!r}: it uses Flower's older interface (server_fn, "
                "client_fn, NumPyClient), for which there is no edge tier",
                "Run it without --edges, or move it to the message API: @app.train(), @app.main().",
            )
        if not content.array_records:
            raise RunFailed(
                f"a message of type {message.metadata.message_type} has no ArrayRecord: an edge "
                "needs a model to run its strategy from"
            )
        config_key = next(iter(content.config_records), "config")
        number = content.config_records.get(config_key, ConfigRecord()).get("server-round", 1)
        return cls(
            message,
            next(iter(content.array_records)),
            config_key,
            number if isinstance(number, int) else 1,
        )

    @property
    def arrays(self) -> ArrayRecord:
        """The model."""
        return self.message.content.array_records[self.arrays_key]

    def config(self) -> ConfigRecord:
        """A new copy of the configuration, which a strategy may change."""
        return ConfigRecord({**self.message.content.config_records.get(self.config_key, {})})


class EdgeApp(ClientApp):
    """Answers the cloud's messages for a cluster.

    To a message of the category `train` it runs `rounds` rounds of the strategy from the arrays in
    the message, and replies with the last arrays, the last round's metrics and the examples that
    they stand for. Any other message is passed to the devices that the strategy chooses, and their
    metrics are aggregated. Devices get the message's type, its configuration with the edge's
    `server-round`, and all records that the strategy does not set.

    Args:
        name: the edge's, for error texts.
        grid: leads to the devices.
        strategy: is run on them.
        rounds: of the strategy, per round of the cloud.
        timeout: seconds after which a round is closed, once there is a quorum.
        screen: drops replies that FedAvg could not aggregate; None: the strategy gets them all.
        tell: is told of each device that did not give what it was asked for, a line.
    """

    def __init__(
        self,
        name: str,
        grid: Grid,
        strategy: Strategy,
        rounds: int,
        timeout: float,
        screen: Screen | None,
        tell: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._name = name
        self._grid = grid
        self._strategy = strategy
        self._rounds = rounds
        self._timeout = timeout
        self._screen = screen
        self._tell = tell

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer a message of the cloud's.

        An app that compresses its models (`hierfl.flower.OneBit`) has them compressed, with the
        same codecs, on both sides of the edge.

        Raises:
            RunFailed: the message is none for an edge, or no device gave what was asked for.
        """
        codecs = codecs_of(message.content)
        if codecs is None:
            return self._answer(message, context)
        if not isinstance(self._strategy, OneBit):
            self._strategy = OneBit(self._strategy, codec=codecs[0], downlink=codecs[1])
            self._screen = None  # it leaves out what it cannot decode
        return onebit()(message, context, self._answer)

    def _answer(self, message: Message, context: Context) -> Message:
        order = Order.of(message)
        for layer in layers(self._strategy):
            for name, key in (
                ("arrayrecord_key", order.arrays_key),
                ("configrecord_key", order.config_key),
            ):
                if hasattr(layer, name):
                    setattr(layer, name, key)
        is_train = message.metadata.message_type.partition(".")[0] == "train"
        content = self._train(order) if is_train else self._evaluate(order)
        return Message(content, reply_to=message)

    def _train(self, order: Order) -> RecordDict:
        arrays, content = order.arrays, RecordDict()
        first = (order.number - 1) * self._rounds + 1
        for number in range(first, first + self._rounds):
            asked = self._strategy.configure_train(number, arrays, order.config(), self._grid)
            replies = self._ask(order, asked, arrays)
            merged, metrics = self._strategy.aggregate_train(number, replies)
            if merged is None:
                raise self._nothing(replies, "a model")
            arrays = merged
            content = self._reply(replies, metrics)
            arrays_key = next((key for r in _good(replies) for key in r.content.array_records),
                              order.arrays_key)  # fmt: skip
        return RecordDict({arrays_key: arrays, **content})

    def _evaluate(self, order: Order) -> RecordDict:
        asked = self._strategy.configure_evaluate(
            order.number, order.arrays, order.config(), self._grid
        )
        replies = self._ask(order, asked, None)
        metrics = self._strategy.aggregate_evaluate(order.number, replies)
        if metrics is None:
            raise self._nothing(replies, "metrics")
        return self._reply(replies, metrics)

    def _ask(
        self, order: Order, messages: Iterable[Message], arrays: ArrayRecord | None
    ) -> list[Message]:
        """Send a strategy's messages, completed from the cloud's; return the replies."""
        messages = list(messages)
        for message in messages:
            message.metadata.message_type = order.message.metadata.message_type
            for key, record in order.message.content.items():
                message.content.setdefault(key, record)
        replies = list(self._grid.send_and_receive(messages, timeout=self._timeout))
        for reply in replies:
            if reply.has_error():
                self._tell(f"{self._child(reply)}: {reason(reply)}")
        if self._screen is None:
            return replies
        flaws = self._screen.flaws(_good(replies), arrays)
        kept = []
        for reply in replies:
            if flaw := flaws.get(reply.metadata.src_node_id):
                self._tell(f"{self._child(reply)}: {flaw}: its reply is left out")
            else:
                kept.append(reply)
        return kept

    def _child(self, reply: Message) -> str:
        names: dict[int, str] = getattr(self._grid, "names", {})
        node = reply.metadata.src_node_id
        return names.get(node, f"node {node}")

    def _reply(self, replies: list[Message], metrics: MetricRecord | None) -> RecordDict:
        """Return the metrics with the weight of the replies that they are the mean of."""
        key = next((name for layer in layers(self._strategy)
                    if (name := getattr(layer, "weighted_by_key", None))), WEIGHT)  # fmt: skip
        records = [
            (name, record)
            for reply in _good(replies)
            for name, record in reply.content.metric_records.items()
        ]
        weights = [record[key] for _, record in records if key in record]
        total = sum(weight for weight in weights if isinstance(weight, int | float))
        name = records[0][0] if records else "metrics"
        return RecordDict({name: MetricRecord({**(metrics or {}), key: total})})

    def _nothing(self, replies: list[Message], what: str) -> RunFailed:
        reasons = [
            f"{self._child(reply)}: {reason(reply)}" for reply in replies if reply.has_error()
        ]
        said = f", for example {reasons[0]}" if reasons else ""
        return RunFailed(f"no device of {self._name} gave {what}{said}")


def _good(replies: list[Message]) -> list[Message]:
    return [reply for reply in replies if reply.has_content()]
