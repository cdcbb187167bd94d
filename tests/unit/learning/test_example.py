"""The example of one's own model and data loads, and can be learned."""

from __future__ import annotations

import numpy as np

from hierfl.learning.datasets import load_dataset
from hierfl.learning.flat_model import FlatModel
from hierfl.learning.models import build_model
from hierfl.learning.trainer import Trainer, evaluate


def test_signs_learn_the_example():
    data = load_dataset("examples.own.data:load")
    assert (len(data.train), len(data.test), data.classes, data.shape) == (
        6000,
        1000,
        4,
        (1, 12, 12),
    )
    module = build_model("examples.own.nets:build", shape=data.shape, classes=data.classes, seed=1)
    trainer = Trainer(FlatModel(module), data.train, batch_size=64)
    assert evaluate(trainer.model, data.test).accuracy < 0.5
    for step in range(300):
        trainer.gradient(np.random.default_rng(step))
        trainer.model.weights -= np.float32(0.002) * np.sign(trainer.model.gradient)
    assert evaluate(trainer.model, data.test).accuracy > 0.9
