"""Whatever one device of an edge replies, the others' replies are aggregated as ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg

from deploy.stock_app.cluster_strategy import cluster_strategy
from deploy.stock_app.edge_app import WEIGHT, EdgeApp
from deploy.stock_app.replies import Screen
from hierfl.link.memory_grid import MemoryGrid
from hierfl.link.responder import Responder

MODEL = {"w": np.zeros((2, 3), np.float32), "count": np.array(5)}

Reply = Callable[[RecordDict], Any]


def arrays(**given: Any) -> ArrayRecord:
    return ArrayRecord({key: Array(np.asarray(each)) for key, each in given.items()})


def good(value: float) -> RecordDict:
    trained = arrays(w=MODEL["w"] + value, count=MODEL["count"])
    metrics = MetricRecord({WEIGHT: 2, "loss": value, "perClass": [1.0, value]})
    return RecordDict({"arrays": trained, "metrics": metrics})


def raises(content: RecordDict) -> None:
    raise LookupError("no data here")


def with_arrays(record: ArrayRecord) -> Reply:
    return lambda content: content.update({"arrays": record})


def with_metrics(**metrics: Any) -> Reply:
    return lambda content: content.update({"metrics": MetricRecord(metrics)})


BAD: dict[str, tuple[Reply, str]] = {
    "raises": (raises, "LookupError: no data here"),
    "no arrays": (lambda c: c.pop("arrays"), "it returned 0 ArrayRecords"),
    "two records": (lambda c: c.update({"more": arrays(w=1)}), "it returned 2 ArrayRecords"),
    "no array": (with_arrays(arrays(count=5)), "it returned no array 'w'"),
    "an array more": (with_arrays(arrays(**MODEL, b=1)), "it returned an array 'b'"),
    "shape": (with_arrays(arrays(w=np.zeros((3, 2)), count=5)), "with the shape (3, 2)"),
    "nan": (with_arrays(arrays(w=np.full((2, 3), np.nan), count=5)), "'w' with values that are"),
    "inf": (with_arrays(arrays(w=np.full((2, 3), np.inf), count=5)), "are not finite"),
    "no metrics": (lambda c: c.pop("metrics"), "it returned 0 MetricRecords"),
    "no weight": (with_metrics(loss=1.0, perClass=[1.0, 1.0]), "has no 'num-examples'"),
    "weight nan": (with_metrics(**{WEIGHT: float("nan")}), "has nan as 'num-examples'"),
    "weight negative": (with_metrics(**{WEIGHT: -3}), "has -3 as 'num-examples'"),
    "weight list": (with_metrics(**{WEIGHT: [1, 2]}), "has [1, 2] as 'num-examples'"),
    "other metrics": (with_metrics(**{WEIGHT: 2, "acc": 1.0}), "where most returned the metrics"),
    "other length": (with_metrics(**{WEIGHT: 2, "loss": 1.0, "perClass": [1.0]}), "perClass[1]"),
    "other record": (lambda c: c.update({"m": c.pop("metrics")}), "m/num-examples"),
}


@pytest.mark.parametrize("name", BAD)
def test_the_others_go_on(name: str) -> None:
    bad, said = BAD[name]

    def device(index: int) -> Responder:
        app = ClientApp()

        @app.train()
        def train(message: Message, context: Context) -> Message:
            content = good(float(index))
            if index == 0:  # the first: what it returns must not be what others are compared with
                bad(content)
            return Message(content, reply_to=message)

        return Responder(app, Context(1, index, {}, RecordDict(), {}))

    told: list[str] = []
    devices = MemoryGrid({f"d{index}": device(index) for index in range(3)})
    strategy = cluster_strategy(None, None, 3)
    app = EdgeApp("east", devices, strategy, 1, 10.0, Screen(WEIGHT), told.append)
    cloud = MemoryGrid({"east": Responder(app, Context(1, 9, {}, RecordDict(), {}))})
    average = FedAvg(fraction_evaluate=0.0, min_train_nodes=1, min_available_nodes=1)
    result = average.start(cloud, arrays(**MODEL), num_rounds=1, train_config=ConfigRecord())
    assert result.arrays["w"].numpy() == pytest.approx(np.full((2, 3), 1.5))
    assert dict(result.train_metrics_clientapp[1])["loss"] == 1.5
    (line,) = told
    assert line.startswith("d0: ") and said in line and len(line.splitlines()) == 1


@pytest.mark.parametrize("returned", [None, {"arrays": 1}, RecordDict()], ids=type)
def test_what_is_no_message_is_named(returned: Any) -> None:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Any:
        return returned

    grid = MemoryGrid({"d0": Responder(app, Context(1, 1, {}, RecordDict(), {}))})
    (reply,) = grid.send_and_receive([Message(good(1.0), 1, "train")])
    kind = type(returned).__name__
    assert f"the app returned a {kind}, not a Message" in str(reply.error.reason)
