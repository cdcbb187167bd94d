"""Stock Flower apps on the grids: an unchanged ServerApp, its strategies and a ClientApp."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import numpy as np
import pytest
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAdam, FedAvg, Krum, Result, Strategy

from hierfl.link.base_grid import RUN_ID
from tests.link.conftest import Grow
from tests.link.trees import TREES

NODES = ("a", "b", "c", "d", "e")
FEATURES = 6
FULL = {"min_available_nodes": 5, "min_train_nodes": 5, "min_evaluate_nodes": 5}
STRATEGIES: dict[str, Callable[[], Strategy]] = {
    "FedAvg": lambda: FedAvg(**FULL),
    "FedAdam": lambda: FedAdam(eta=0.1, **FULL),
    "Krum": lambda: Krum(num_malicious_nodes=1, **FULL),
}


def samples(node_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a node's share of a linearly separable set; nodes hold different numbers."""
    rng = np.random.default_rng(node_id)
    x = rng.standard_normal((30 + 7 * node_id, FEATURES))
    return x, (x @ np.arange(1.0, FEATURES + 1) + 0.5 > 0).astype(np.float64)


def logits(model: ArrayRecord, x: np.ndarray) -> np.ndarray:
    weights, bias = model.to_numpy_ndarrays()
    return x @ weights + bias


def loss(model: ArrayRecord, x: np.ndarray, y: np.ndarray) -> float:
    z = logits(model, x)
    return float(np.mean(np.logaddexp(0.0, z) - y * z))


def client_app(name: str) -> ClientApp:
    """Return a stock app: logistic regression by gradient descent."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        x, y = samples(context.node_id)
        model = message.content["arrays"]
        assert isinstance(model, ArrayRecord)
        for _ in range(5):
            error = 1 / (1 + np.exp(-logits(model, x))) - y
            weights, bias = model.to_numpy_ndarrays()
            model = ArrayRecord([weights - 0.5 * x.T @ error / len(y), bias - 0.5 * error.mean()])
        metrics = MetricRecord({"num-examples": len(y), "train-loss": loss(model, x, y)})
        return Message(RecordDict({"arrays": model, "metrics": metrics}), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        x, y = samples(context.node_id)
        model = message.content["arrays"]
        assert isinstance(model, ArrayRecord)
        metrics = MetricRecord({"num-examples": len(y), "eval-loss": loss(model, x, y)})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    return app


def fit(grid: Grid, strategy: Strategy) -> Result:
    """Run a stock ServerApp."""
    results = []
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        start = ArrayRecord([np.zeros(FEATURES), np.zeros(1)])
        results.append(strategy.start(grid=grid, initial_arrays=start, num_rounds=6))

    app(grid, Context(RUN_ID, 0, {}, RecordDict(), {}))
    return results[0]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("flwr").setLevel(logging.WARNING)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_stock_app_learns(grow: Grow, name: str) -> None:
    tree = grow(NODES, client_app)
    result = fit(tree.grid, STRATEGIES[name]())
    losses = [result.evaluate_metrics_clientapp[i]["eval-loss"] for i in range(1, 7)]
    assert all(isinstance(value, float) for value in losses)
    assert losses[-1] < 0.75 * math.log(2) and losses[-1] < losses[0]
    assert tree.grid.ledger.total("up").frames == 2 * 5 * 6
    assert (tree.grid.faults().late, tree.grid.faults().rejected) == (0, 0)


@pytest.mark.parametrize("name", STRATEGIES)
def test_transports_agree_in_every_bit(name: str) -> None:
    results = {}
    for transport, make in TREES.items():
        tree = make(NODES, client_app, 0.0)
        try:
            result = fit(tree.grid, STRATEGIES[name]())
        finally:
            tree.close()
        assert len(result.train_metrics_clientapp) == len(result.evaluate_metrics_clientapp) == 6
        arrays = [array.tobytes() for array in result.arrays.to_numpy_ndarrays()]
        metrics = (result.train_metrics_clientapp, result.evaluate_metrics_clientapp)
        count = tree.grid.ledger.traffic()
        results[transport] = (arrays, metrics, count.up.payload, count.down.payload)
    assert results["memory"] == results["link"]


def test_fedavg_is_the_weighted_mean(grow: Grow) -> None:
    tree = grow(NODES, client_app)
    start = ArrayRecord([np.zeros(FEATURES), np.zeros(1)])
    strategy = FedAvg(**FULL)
    result = strategy.start(grid=tree.grid, initial_arrays=start, num_rounds=1)
    models, sizes = [], []
    for node_id in range(1, 6):
        app = client_app("")
        request = Message(RecordDict({"arrays": start}), node_id, "train")
        reply = app(request, Context(RUN_ID, node_id, {}, RecordDict(), {}))
        models.append(reply.content.array_records["arrays"].to_numpy_ndarrays()[0])
        sizes.append(len(samples(node_id)[1]))
    expected = np.average(np.stack(models), axis=0, weights=sizes)
    assert np.allclose(result.arrays.to_numpy_ndarrays()[0], expected, rtol=1e-12)


def test_a_failing_node_is_left_out(grow: Grow) -> None:
    def make_app(name: str) -> ClientApp:
        app = client_app(name)
        if name != "c":
            return app
        broken = ClientApp()

        @broken.train()
        def train(message: Message, context: Context) -> Message:
            raise MemoryError("no room")

        return broken

    tree = grow(NODES, make_app)
    result = fit(tree.grid, STRATEGIES["FedAvg"]())
    assert result.evaluate_metrics_clientapp[6]["eval-loss"] < 0.75 * math.log(2)
    assert tree.ran["c"].count("train") == 6
