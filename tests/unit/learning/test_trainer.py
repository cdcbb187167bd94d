from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hierfl.learning.dataset import Split
from hierfl.learning.flat_model import FlatModel
from hierfl.learning.models import build_model
from hierfl.learning.trainer import Trainer, evaluate


@pytest.fixture
def split() -> Split:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (50, 1, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 10, (50,), generator=generator)
    return Split(images, labels, torch.tensor(127.0), torch.tensor(70.0))


def model() -> FlatModel:
    return FlatModel(build_model("cnn", shape=(1, 8, 8), classes=10, seed=1))


def random(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


def test_a_batch_of_everything_gives_the_full_gradient(split):
    flat = model()
    loss = Trainer(flat, split, batch_size=500).gradient(random(1))
    plain = build_model("cnn", shape=(1, 8, 8), classes=10, seed=1)
    inputs = (split.inputs.float() - 127) / 70
    expected = nn.functional.cross_entropy(plain(inputs), split.labels)
    expected.backward()
    gradient = torch.cat([p.grad.reshape(-1) for p in plain.parameters()]).numpy()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    assert np.allclose(flat.gradient, gradient, rtol=1e-3, atol=1e-6)


def test_the_generator_names_the_minibatch(split):
    trainer = Trainer(model(), split, batch_size=8)
    trainer.gradient(random(1))
    first = trainer.model.gradient.copy()
    trainer.gradient(random(2))
    assert not np.array_equal(trainer.model.gradient, first)
    trainer.gradient(random(1))
    assert np.array_equal(trainer.model.gradient, first)


def test_samples_of_a_minibatch_are_distinct(split):
    class Recorder(Split):
        def batch(self, where):
            assert len(set(where.tolist())) == 20
            return super().batch(where)

    recorder = Recorder(split.inputs, split.labels, split.mean, split.std)
    for step in range(20):
        Trainer(model(), recorder, batch_size=20).gradient(random(step))


def test_dropout_follows_the_generator_and_leaves_torchs_state(split):
    module = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10))
    trainer = Trainer(FlatModel(module), split, batch_size=50)
    losses = []
    for key in (1, 2, 1):
        torch.rand(key)
        before = torch.get_rng_state()
        losses.append(trainer.gradient(random(key)))
        assert torch.equal(torch.get_rng_state(), before)
    assert losses[0] == losses[2] != losses[1]


def test_weights_are_never_changed(split):
    trainer = Trainer(model(), split, batch_size=8)
    before = trainer.model.weights.copy()
    trainer.gradient(random(0))
    evaluate(trainer.model, split)
    assert np.array_equal(trainer.model.weights, before)


def test_examples_counts_the_shard(split):
    trainer = Trainer(model(), split.take(torch.arange(7)), batch_size=8)
    assert (trainer.examples, trainer.batch_size) == (7, 7)


@pytest.mark.parametrize("batch_size", [1, 7, 50, 1000])
def test_evaluation_does_not_depend_on_the_batches(split, batch_size):
    flat = model()
    with torch.no_grad():
        outputs = flat.module((split.inputs.float() - 127) / 70)
        loss = nn.functional.cross_entropy(outputs, split.labels).item()
    evaluation = evaluate(flat, split, batch_size)
    assert evaluation.loss == pytest.approx(loss, rel=1e-5)
    assert evaluation.accuracy == (outputs.argmax(1) == split.labels).double().mean().item()


def test_evaluation_uses_evaluation_mode_and_goes_back(split):
    module = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Dropout(0.9), nn.Linear(64, 10))
    flat = FlatModel(module)
    before = flat.buffers()
    assert evaluate(flat, split) == evaluate(flat, split)
    assert np.array_equal(flat.buffers(), before)
    assert all(part.training for part in module.modules())


def test_descent_on_the_gradient_learns(split):
    trainer = Trainer(model(), split, batch_size=32)
    before = evaluate(trainer.model, split)
    for step in range(200):
        trainer.gradient(random(step))
        trainer.model.weights -= np.float32(0.1) * trainer.model.gradient
    after = evaluate(trainer.model, split)
    assert after.loss < before.loss / 2
    assert after.accuracy > 0.9
