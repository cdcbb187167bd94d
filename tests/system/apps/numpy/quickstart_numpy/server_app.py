"""quickstart_numpy: the ServerApp."""

import json
from pathlib import Path

from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from quickstart_numpy.task import get_dummy_model

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run FedAvg."""
    result = FedAvg(fraction_evaluate=context.run_config["fraction-evaluate"]).start(
        grid=grid,
        initial_arrays=ArrayRecord(get_dummy_model()),
        num_rounds=context.run_config["num-server-rounds"],
    )
    told = {
        "arrays": {key: array.numpy().tolist() for key, array in result.arrays.items()},
        "train": {str(n): dict(m) for n, m in result.train_metrics_clientapp.items()},
        "evaluate": {str(n): dict(m) for n, m in result.evaluate_metrics_clientapp.items()},
    }
    Path(context.run_config["results"]).write_text(json.dumps(told))
