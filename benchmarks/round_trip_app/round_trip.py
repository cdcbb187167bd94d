"""100,000 float32 to each node and back, as a Flower app."""

import json
import time
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

SIZE = 100_000

client, server = ClientApp(), ServerApp()


@client.train()
def train(message: Message, context: Context) -> Message:
    """Return the model as it came."""
    arrays, metrics = message.content["arrays"], MetricRecord({"num-examples": 1})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds, and write when each was over."""
    ends: list[float] = []
    FedAvg(fraction_evaluate=0.0).start(
        grid,
        ArrayRecord([np.zeros(SIZE, np.float32)]),
        num_rounds=context.run_config["rounds"],
        evaluate_fn=lambda number, arrays: ends.append(time.monotonic()),
    )
    Path(context.run_config["results"]).write_text(json.dumps(ends))
