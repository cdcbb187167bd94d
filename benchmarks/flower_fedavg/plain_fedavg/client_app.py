"""A device: an epoch of SGD on its own samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from hierfl.config import load_config
from hierfl.learning.loaded import load_data
from hierfl.learning.setup import make_trainer
from hierfl.learning.threads import one_thread

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train the model that came, and send it back."""
    one_thread()
    settings, arrays = context.run_config, message.content.array_records["arrays"]
    round_ = message.content.config_records["config"]["server-round"]
    config = load_config(Path(str(settings["topology"])))
    trainer = make_trainer(config, str(context.node_config["name"]), load_data(config))
    weights, gradient = trainer.model.weights, trainer.model.gradient
    weights[:] = arrays.to_numpy_ndarrays()[0]
    momentum = np.zeros_like(weights)
    draws = np.random.default_rng([config.seed, int(str(round_))])
    steps = int(settings["local-epochs"]) * (trainer.examples // trainer.batch_size)
    beta, lr = np.float32(settings["momentum"]), np.float32(settings["learning-rate"])
    for _ in range(steps):
        trainer.gradient(draws)
        momentum = beta * momentum + (1 - beta) * gradient
        weights -= lr * momentum
    metrics = MetricRecord({"num-examples": trainer.examples})
    content = RecordDict({"arrays": ArrayRecord([weights]), "metrics": metrics})
    return Message(content, reply_to=message)
