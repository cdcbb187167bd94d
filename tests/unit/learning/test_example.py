"""The example of one's own model and data loads, and can be learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hierfl.config import load_config
from hierfl.learning.loaded import known, load_data
from hierfl.learning.setup import judging, make_trainer
from hierfl.learning.trainer import evaluate


def test_signs_learn_the_example() -> None:
    config = load_config(Path("examples/own/topology.yaml"), ["edges=[{name: e, devices: [d]}]"])
    data = load_data(config)
    facts, test = known(data), judging(config, data)
    assert test is not None
    assert (facts.examples, len(test), facts.classes, facts.shape) == (6000, 1000, 4, (1, 12, 12))
    trainer = make_trainer(config, "d", data)
    assert evaluate(trainer.task, trainer.model, test)["accuracy"] < 0.5
    for step in range(300):
        trainer.gradient(np.random.default_rng(step))
        trainer.model.weights -= np.float32(0.002) * np.sign(trainer.model.gradient)
    assert evaluate(trainer.task, trainer.model, test)["accuracy"] > 0.9
