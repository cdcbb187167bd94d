"""quickstart_pytorch: the ServerApp."""

import json
from pathlib import Path

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from quickstart_pytorch.task import Net

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run FedAvg from a seeded model."""
    torch.manual_seed(1)
    result = FedAvg(fraction_evaluate=context.run_config["fraction-evaluate"]).start(
        grid=grid,
        initial_arrays=ArrayRecord(Net().state_dict()),
        train_config=ConfigRecord({"lr": context.run_config["learning-rate"]}),
        num_rounds=context.run_config["num-server-rounds"],
    )
    told = {
        "arrays": {key: array.numpy().tolist() for key, array in result.arrays.items()},
        "train": {str(n): dict(m) for n, m in result.train_metrics_clientapp.items()},
        "evaluate": {str(n): dict(m) for n, m in result.evaluate_metrics_clientapp.items()},
    }
    Path(context.run_config["results"]).write_text(json.dumps(told))
