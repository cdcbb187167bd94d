"""One bit per coordinate in a Flower app: the mod and the strategy, over a grid in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAdam, FedAvg, Strategy

import hierfl
from hierfl.codecs import CODECS
from hierfl.errors import ConfigError
from hierfl.flower import OneBit, onebit
from hierfl.flower.wire import KEY
from hierfl.link.memory_grid import MemoryGrid
from hierfl.link.responder import Responder

NODES = 3
STEP = 0.1
SHAPES = {"weight": (20, 30), "bias": (20,), "norm.running_var": (20,), "count": ()}


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flower logs ten lines a round."""
    monkeypatch.setattr(logging.getLogger("flwr"), "disabled", True)


def model() -> ArrayRecord:
    arrays = {key: np.ones(shape, np.float32) for key, shape in SHAPES.items()}
    arrays["count"] = np.array(1, np.int64)
    return ArrayRecord({key: Array(np.asarray(each)) for key, each in arrays.items()})


def target(node: int) -> dict[str, np.ndarray]:
    """Where a node's loss is least."""
    draws = np.random.default_rng(node)
    return {key: draws.normal(size=shape) for key, shape in SHAPES.items() if key != "count"}


class Nodes:
    """Apps that go a tenth of the way to their targets; what they see and send is noted."""

    def __init__(self, mods: list[Any] | None = None) -> None:
        self.contexts = [Context(1, n, {}, RecordDict(), {}) for n in range(NODES)]
        self.sizes: list[dict[str, int]] = []
        self.seen: list[dict[str, np.ndarray]] = []
        self.fails: set[int] = set()
        watched = [self._watch, *([onebit()] if mods is None else mods)]
        self.grid = MemoryGrid({f"n{n}": Responder(self._app(n, watched), self.contexts[n])
                                for n in range(NODES)})  # fmt: skip

    def _watch(self, message: Message, context: Context, call_next: Callable[..., Message]) -> Any:
        arrays = sum(r.count_bytes() for r in message.content.array_records.values())
        told = message.content.config_records.get(KEY, ConfigRecord())
        changes: Any = told.get("changes", [])
        down = arrays + sum(map(len, changes))
        reply = call_next(message, context)
        sent = sum(r.count_bytes() for r in reply.content.array_records.values())
        update: Any = reply.content.config_records.get(KEY, ConfigRecord()).get("update", b"")
        self.sizes.append({"down": down, "up": sent + len(update)})
        return reply

    def _app(self, node: int, mods: list[Any]) -> ClientApp:
        app, wanted = ClientApp(mods=mods), target(node)

        @app.train()
        def train(message: Message, context: Context) -> Message:
            if node in self.fails:
                raise ValueError("no")
            arrays = {
                key: each.numpy() for key, each in message.content.array_records["arrays"].items()
            }
            self.seen.append(dict(arrays))
            for key, there in wanted.items():
                arrays[key] = (arrays[key] + STEP * (there - arrays[key])).astype(np.float32)
            arrays["count"] = arrays["count"] + 1
            record = ArrayRecord({key: Array(np.asarray(each)) for key, each in arrays.items()})
            metrics = MetricRecord({"num-examples": 1})
            return Message(RecordDict({"arrays": record, "m": metrics}), reply_to=message)

        @app.evaluate()
        def evaluate(message: Message, context: Context) -> Message:
            arrays = {
                key: each.numpy() for key, each in message.content.array_records["arrays"].items()
            }
            loss = float(np.square(arrays["weight"] - wanted["weight"]).mean())
            metrics = MetricRecord({"num-examples": 1, "loss": loss})
            return Message(RecordDict({"m": metrics}), reply_to=message)

        return app


def run(nodes: Nodes, strategy: Strategy, rounds: int = 30) -> Any:
    return strategy.start(nodes.grid, model(), num_rounds=rounds)


def error(result: Any) -> float:
    mean = np.mean([target(node)["weight"] for node in range(NODES)], axis=0)
    return float(np.abs(result.arrays["weight"].numpy() - mean).max())


@pytest.mark.parametrize("inside", [FedAvg, lambda: FedAdam(eta=0.05)], ids=["fedavg", "fedadam"])
def test_it_comes_near_to_where_the_strategy_comes(inside: Callable[[], Strategy]) -> None:
    """Nodes differ, so that the steps' size bounds how near."""
    before = error(run(Nodes(), OneBit(inside()), 1))
    ours = run(Nodes(), OneBit(inside()), 80)
    assert error(ours) < 0.25 * before
    first, last = (ours.evaluate_metrics_clientapp[n]["loss"] for n in (1, 80))
    assert last < first


def test_a_round_is_a_twenty_eighth_or_less() -> None:
    """A model of 100 kB; a round of the app's own has the model three times."""
    SHAPES["weight"] = (200, 125)
    try:
        plain, ours = Nodes([]), Nodes()
        run(plain, FedAvg(), 4), run(ours, OneBit(FedAvg()), 4)
    finally:
        SHAPES["weight"] = (20, 30)
    last = 2 * NODES
    whole = sum(each["down"] + each["up"] for each in plain.sizes[-last:])
    assert sum(each["down"] + each["up"] for each in ours.sizes[-last:]) <= whole / 28


def test_arrays_that_are_no_floats_and_running_statistics_are_sent_as_they_are() -> None:
    nodes = Nodes()
    result = run(nodes, OneBit(FedAvg()), 3)
    plain = run(Nodes([]), FedAvg(), 3)
    assert np.array_equal(
        result.arrays["norm.running_var"].numpy(), plain.arrays["norm.running_var"].numpy()
    )
    assert result.arrays["count"].numpy() == plain.arrays["count"].numpy() == 4
    assert {str(each["weight"].dtype) for each in nodes.seen} == {"float32"}


def test_all_nodes_compute_at_the_same_model() -> None:
    nodes = Nodes()
    run(nodes, OneBit(FedAvg()), 4)
    for number in range(4):
        first, *others = nodes.seen[NODES * number : NODES * (number + 1)]
        assert all(np.array_equal(first["weight"], other["weight"]) for other in others)


def test_a_node_that_lost_its_state_is_sent_the_whole_model() -> None:
    nodes, strategy = Nodes(), OneBit(FedAvg(fraction_evaluate=0.0))
    grid, arrays = nodes.grid, model()

    def one_round(number: int) -> int:
        nonlocal arrays
        asked = strategy.configure_train(number, arrays, ConfigRecord(), grid)
        replies = grid.send_and_receive(asked)
        merged, _ = strategy.aggregate_train(number, replies)
        assert merged is not None
        arrays = merged
        return sum(not reply.has_error() for reply in replies)

    assert [one_round(n) for n in (1, 2)] == [3, 3]
    for key in list(nodes.contexts[1].state):
        del nodes.contexts[1].state[key]
    assert [one_round(n) for n in (3, 4, 5)] == [2, 3, 3]
    first, *others = nodes.seen[-NODES:]
    assert all(np.array_equal(first["weight"], other["weight"]) for other in others)


def test_nodes_that_were_not_asked_catch_up() -> None:
    """Of three nodes two take part in each round, by turns."""

    class ByTurns(FedAvg):
        def configure_train(self, server_round: int, *rest: Any) -> Iterable[Message]:
            messages = list(super().configure_train(server_round, *rest))
            messages.sort(key=lambda message: message.metadata.dst_node_id)
            return [each for n, each in enumerate(messages) if (n + server_round) % 3]

    nodes = Nodes()
    run(nodes, OneBit(ByTurns(fraction_evaluate=0.0)), 9)
    assert len(nodes.seen) == 18
    for one, other in zip(nodes.seen[::2], nodes.seen[1::2], strict=True):
        assert np.array_equal(one["weight"], other["weight"])
    assert max(each["down"] for each in nodes.sizes[4:]) < 1200  # no whole model any more


def test_a_failing_node_does_not_stop_the_others() -> None:
    nodes = Nodes()
    nodes.fails = {1}
    result = run(nodes, OneBit(FedAvg()), 60)
    mean = (target(0)["weight"] + target(2)["weight"]) / 2
    assert np.abs(result.arrays["weight"].numpy() - mean).max() < 0.8


@pytest.mark.parametrize("codec", [name for name in CODECS])
def test_every_codec_works_both_ways(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that keeps few of the coordinates needs small steps."""
    monkeypatch.setattr(f"{__name__}.STEP", 0.02)
    before = error(run(Nodes(), OneBit(FedAvg(), codec=codec, downlink=codec), 1))
    assert error(run(Nodes(), OneBit(FedAvg(), codec=codec, downlink=codec), 60)) < 0.8 * before


def test_a_codec_takes_options() -> None:
    strategy = OneBit(FedAvg(), codec={"topk": {"fraction": 0.25}}, downlink={"qsgd": {"bits": 6}})
    assert error(run(Nodes(), strategy, 80)) < 0.2


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ConfigError, match="OneBit"):
        OneBit(FedAvg)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="unknown codec 'sgin'"):
        run(Nodes(), OneBit(FedAvg(), codec="sgin"), 1)
    with pytest.raises(ConfigError, match="fractoin"):
        run(Nodes(), OneBit(FedAvg(), codec={"topk": {"fractoin": 0.1}}), 1)
    with pytest.raises(ConfigError, match="downlink"):
        run(Nodes(), OneBit(FedAvg(), downlink={"qsgd": {"bits": 2}}), 1)
    with pytest.raises(ConfigError, match="uncompressed model") as missing:
        run(Nodes([]), OneBit(FedAvg()), 1)
    assert "mods=[hierfl.flower.onebit()]" in str(missing.value.hint)


def test_a_server_without_it_is_served_as_ever() -> None:
    assert error(run(Nodes(), FedAvg(), 30)) == error(run(Nodes([]), FedAvg(), 30))


def test_it_is_there_with_hierfl() -> None:
    assert hierfl.flower.OneBit is OneBit
