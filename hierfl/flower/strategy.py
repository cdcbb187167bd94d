"""The server's end: a strategy around any other, which sees whole models."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from numpy.typing import NDArray

from hierfl.errors import ConfigError, PayloadError
from hierfl.flower.reference import Reference
from hierfl.flower.wire import KEY, CodecSpec, take_update

log = logging.getLogger(__name__)


class OneBit(Strategy):
    """Runs any strategy of Flower's with compressed models in both directions.

    The ClientApp needs the other end: `ClientApp(mods=[hierfl.flower.onebit()])`. The strategy
    inside sees whole models: to its model it gets that model plus each node's decoded update.
    A node's first message holds the whole model, each later one the encoded change.

    Args:
        strategy: any strategy of `flwr.serverapp.strategy`.
        codec: of the nodes' updates: "sign" (one bit a coordinate and a scale per tensor), any
            other of hierfl's, `module:Class` of your own, or {name: {option: value}}.
        downlink: of the model's changes, likewise.

    Raises:
        ConfigError: `strategy` is none, or there is no such codec (with the first round).
    """

    def __init__(
        self, strategy: Strategy, *, codec: CodecSpec = "sign", downlink: CodecSpec = "sign"
    ) -> None:
        if not isinstance(strategy, Strategy):
            raise ConfigError(
                "OneBit",
                f"a {type(strategy).__module__}.{type(strategy).__name__} is no "
                "flwr.serverapp.strategy.Strategy",
                "Strategies of flwr.server, Flower's older interface, cannot be wrapped.",
            )
        self.strategy = strategy
        self._codec = codec
        self._downlink = downlink
        self._reference: Reference | None = None
        self._model: NDArray[np.float64] = np.empty(0)
        self._held: dict[int, int] = {}
        self._asked: set[int] = set()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """See `Strategy.configure_train`."""
        asked = self.strategy.configure_train(server_round, arrays, config, grid)
        return self._compressed(asked, arrays)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """See `Strategy.configure_evaluate`."""
        asked = self.strategy.configure_evaluate(server_round, arrays, config, grid)
        return self._compressed(asked, arrays)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """See `Strategy.aggregate_train`.

        Raises:
            ConfigError: a node's ClientApp lacks the mod.
        """
        replies = self._heard(replies)
        whole = [reply for reply in replies if reply.has_error() or self._decompress(reply)]
        return self.strategy.aggregate_train(server_round, whole)

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """See `Strategy.aggregate_evaluate`."""
        return self.strategy.aggregate_evaluate(server_round, self._heard(replies))

    def summary(self) -> None:
        """Log the settings of the strategy inside."""
        self.strategy.summary()

    def _compressed(self, asked: Iterable[Message], arrays: ArrayRecord) -> list[Message]:
        """Put the change in the place of the model, the same for all nodes that lack the same."""
        messages = list(asked)
        if not messages:
            return messages
        if self._reference is None:
            self._reference = Reference.start(arrays, self._codec, self._downlink)
        self._model = self._reference.publish(arrays)
        made: dict[tuple[int | None, int], RecordDict] = {}
        for message in messages:
            node, content = message.metadata.dst_node_id, message.content
            which = self._held.get(node), id(content)
            if which not in made:
                down, rest = self._reference.down(self._held.get(node))
                key = next(iter(content.array_records))
                made[which] = RecordDict({**content, key: rest, KEY: down.to_record()})
            message.content = made[which]
        self._asked = {message.metadata.dst_node_id for message in messages}
        return messages

    def _heard(self, replies: Iterable[Message]) -> list[Message]:
        """Note who holds the version: of others nothing is known until they get the whole model."""
        replies = list(replies)
        for node in self._asked:
            self._held.pop(node, None)
        if self._reference is not None:
            for reply in replies:
                if not reply.has_error():
                    self._held[reply.metadata.src_node_id] = self._reference.version
        self._asked = set()
        return replies

    def _decompress(self, reply: Message) -> bool:
        """Put the whole model in the place of an update; return whether that could be done."""
        assert self._reference is not None
        node, content = reply.metadata.src_node_id, reply.content
        update = take_update(content)
        if update is None:
            raise ConfigError(
                "ClientApp",
                f"node {node} replied with an uncompressed model",
                "Add the other end to client_app.py: ClientApp(mods=[hierfl.flower.onebit()]).",
            )
        try:
            change = self._reference.codec(self._codec).decode(update)
            (key,) = content.array_records
            rest = content.array_records[key]
            content[key] = self._reference.tensors.join(self._model + change, rest)
        except (PayloadError, ValueError) as error:
            log.warning("the reply of node %d is left out: %s", node, error)
            return False
        return True
