"""An edge in one process: its app over a grid in memory, under a strategy of the cloud's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAdam, FedAvg, FedMedian, Strategy

from deploy.stock_app.cluster_strategy import cluster_strategy
from deploy.stock_app.edge_app import WEIGHT, EdgeApp
from deploy.stock_app.replies import Screen
from hierfl.errors import ConfigError
from hierfl.flower import OneBit, onebit
from hierfl.link.memory_grid import MemoryGrid
from hierfl.link.responder import Responder

SEEN: list[dict[str, Any]] = []


def context(node: int) -> Context:
    return Context(1, node, {}, RecordDict(), {})


def device(index: int, mods: list[Any]) -> Responder:
    """A device with index + 1 examples that moves the model by draws of its own."""
    app = ClientApp(mods=mods)

    @app.train()
    @app.train("special")
    def train(message: Message, context: Context) -> Message:
        config = message.content.config_records["config"]
        SEEN.append({"index": index, "type": message.metadata.message_type,
                     "keys": {*message.content}, **config})  # fmt: skip
        draws = np.random.default_rng([index, int(str(config["server-round"]))])
        arrays = message.content.array_records["arrays"].to_numpy_ndarrays()
        arrays = [a + 0.1 * draws.normal(size=a.shape).astype(np.float32) for a in arrays]
        metrics = MetricRecord({"loss": draws.random(), WEIGHT: index + 1})
        content = RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics})
        return Message(content, reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        (first, *_) = message.content.array_records["arrays"].to_numpy_ndarrays()
        metrics = MetricRecord({"at": float(first.sum()) * (index + 1), WEIGHT: index + 2})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    return Responder(app, context(index))


def tree(sizes: list[int], rounds: int = 1, strategy: Any = None, mods: Any = ()) -> MemoryGrid:
    """Edges with so many devices each; no size: the devices themselves."""
    edges, begin = {}, 0
    for number, size in enumerate(sizes):
        devices = {f"d{i}": device(i, list(mods)) for i in range(begin, begin + size)}
        begin += size
        made = strategy() if strategy else cluster_strategy(None, None, size)
        screen = None if strategy else Screen(WEIGHT)
        app = EdgeApp(f"e{number}", MemoryGrid(devices), made, rounds, 10.0, screen, print)
        edges[f"e{number}"] = Responder(app, context(number))
    return MemoryGrid(edges)


def flat(count: int, mods: Any = ()) -> MemoryGrid:
    return MemoryGrid({f"d{i}": device(i, list(mods)) for i in range(count)})


def run(grid: MemoryGrid, strategy: Strategy, rounds: int = 3) -> Any:
    start = ArrayRecord([np.zeros((3, 2), np.float32), np.ones(5, np.float32)])
    return strategy.start(grid, start, num_rounds=rounds)


def vector(result: Any) -> np.ndarray:
    return np.concatenate([a.ravel() for a in result.arrays.to_numpy_ndarrays()])


@pytest.mark.parametrize("cloud", [FedAvg, lambda: FedAdam(eta=0.1)], ids=["fedavg", "fedadam"])
@pytest.mark.parametrize("sizes", [[1, 1], [2, 3], [5, 1, 2]], ids=str)
def test_one_round_of_fedavg_at_the_edges_changes_nothing(cloud: Any, sizes: list[int]) -> None:
    """Up to rounding: FedAdam divides by small numbers."""
    one, other = run(tree(sizes), cloud()), run(flat(sum(sizes)), cloud())
    assert vector(one) == pytest.approx(vector(other), rel=1e-3, abs=1e-5)
    for kind in ("train_metrics_clientapp", "evaluate_metrics_clientapp"):
        ours, theirs = getattr(one, kind), getattr(other, kind)
        assert ours.keys() == theirs.keys() == {1, 2, 3}
        for number, metrics in theirs.items():
            assert dict(ours[number]) == pytest.approx(dict(metrics), rel=1e-3, abs=1e-4)


def test_an_edge_counts_its_rounds_on() -> None:
    SEEN.clear()
    run(tree([2, 2], rounds=3), FedAvg(fraction_evaluate=0.0), 2)
    assert [each["server-round"] for each in SEEN if each["index"] == 3] == [1, 2, 3, 4, 5, 6]


def test_an_edge_runs_any_strategy() -> None:
    assert not np.allclose(
        vector(run(tree([3, 3], strategy=FedMedian), FedAvg())), vector(run(flat(6), FedAvg()))
    )


def test_the_messages_type_and_all_its_records_reach_the_devices() -> None:
    SEEN.clear()
    grid = tree([2])
    content = RecordDict({
        "arrays": ArrayRecord([np.zeros(2, np.float32)]),
        "config": ConfigRecord({"lr": 0.5, "server-round": 1}),
        "more": ConfigRecord({"a": 1}),
    })  # fmt: skip
    (reply,) = grid.send_and_receive([Message(content, 1, "train.special")])
    assert not reply.has_error()
    assert {each["type"] for each in SEEN} == {"train.special"} and len(SEEN) == 2
    assert all(each["keys"] == {"arrays", "config", "more"} for each in SEEN)
    assert all(each["lr"] == 0.5 for each in SEEN)
    assert reply.content.metric_records["metrics"][WEIGHT] == 1 + 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (RecordDict({"fitins.parameters": ArrayRecord([])}), "older interface"),
        (RecordDict({"config": ConfigRecord({})}), "has no ArrayRecord"),
    ],
    ids=["older", "no-model"],
)
def test_a_message_that_no_edge_can_answer(content: RecordDict, said: str) -> None:
    (reply,) = tree([2]).send_and_receive([Message(content, 1, "train")])
    assert reply.has_error() and said in str(reply.error.reason)


def test_one_bit_on_both_sides_of_the_edges() -> None:
    """All devices and both edges hold the model compressed; it comes out as it does without."""
    ours = run(tree([2, 3], mods=[onebit()]), OneBit(FedAvg()), 30)
    plain = run(flat(5), FedAvg(), 30)
    assert np.abs(vector(ours) - vector(plain)).max() < 0.3
    grid = tree([2, 3], mods=[onebit()])
    strategy = OneBit(FedAvg(fraction_evaluate=0.0), codec="float32", downlink="float32")
    one = run(grid, strategy)
    assert vector(one) == pytest.approx(vector(run(flat(5), FedAvg())), rel=1e-4, abs=1e-5)


def test_an_edge_of_one_device_waits_for_no_other() -> None:
    """Flower's strategies wait for two nodes at least, unless they are told otherwise."""
    strategy = cluster_strategy("flwr.serverapp.strategy:FedMedian", None, 1)
    assert isinstance(strategy, FedMedian) and strategy.min_available_nodes == 1


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("flwr.server.strategy:FedAvg", "older interface"),
        ("flwr.serverapp.strategy:QFedAvg", "without arguments"),
        ("math:pi", "float"),
        ("nowhere:Strategy", "no module named 'nowhere'"),
    ],
)
def test_a_strategy_that_cannot_be_run(reference: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        cluster_strategy(reference, None, 2)
    assert said in caught.value.message + str(caught.value.hint)
