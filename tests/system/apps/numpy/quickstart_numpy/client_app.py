"""quickstart_numpy: the ClientApp."""

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(msg: Message, context: Context):
    """Move the model by what this partition draws in this round."""
    model = msg.content["arrays"].to_numpy_ndarrays()
    partition_id = context.node_config["partition-id"]
    draws = np.random.default_rng([partition_id, msg.content["config"]["server-round"]])
    model = [0.9 * m + draws.standard_normal(m.shape).astype(np.float32) for m in model]
    metrics = MetricRecord({"random_metric": draws.random(), "num-examples": 1 + partition_id})
    content = RecordDict({"arrays": ArrayRecord(model), "metrics": metrics})
    return Message(content=content, reply_to=msg)


@app.evaluate()
def evaluate(msg: Message, context: Context):
    """Measure the model."""
    model = msg.content["arrays"].to_numpy_ndarrays()
    partition_id = context.node_config["partition-id"]
    norm = float(sum(np.abs(m).sum() for m in model))
    metrics = MetricRecord({"norm": norm * (1 + partition_id), "num-examples": 3 + partition_id})
    return Message(content=RecordDict({"metrics": metrics}), reply_to=msg)
