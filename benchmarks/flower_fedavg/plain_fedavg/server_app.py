"""The server: Flower's FedAvg over all devices, each round evaluated on the test set."""

from __future__ import annotations

import json
import time
from pathlib import Path

from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from hierfl.config import load_config
from hierfl.learning.loaded import load_data
from hierfl.learning.setup import judging, make_model
from hierfl.learning.threads import one_thread
from hierfl.learning.trainer import evaluate
from hierfl.runs import interface_counters

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Write a line a round, with what the interfaces have carried so far."""
    one_thread()
    config = load_config(Path(str(context.run_config["topology"])))
    data = load_data(config)
    model, test = make_model(config, data), judging(config, data)
    assert test is not None
    devices = sum(map(len, config.tree().values()))
    begin = 0.0

    def judge(round_: int, arrays: ArrayRecord) -> MetricRecord:
        nonlocal begin
        if round_ == 0:
            begin = time.monotonic()
            return MetricRecord()
        wall, carried = time.monotonic() - begin, interface_counters.carried()
        model.weights[:] = arrays.to_numpy_ndarrays()[0]
        found = evaluate(data.task, model, test)
        line = {"round": round_, "wall_s": wall, "accuracy": found["accuracy"], "wire": carried}
        with open(str(context.run_config["results"]), "a") as file:
            file.write(json.dumps(line) + "\n")
        print(f"round {round_}: {line}", flush=True)
        return MetricRecord({"accuracy": found["accuracy"]})

    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=devices, min_available_nodes=devices)
    strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord([model.weights]),
        num_rounds=config.algorithm.rounds,
        timeout=36000,
        evaluate_fn=judge,
    )
