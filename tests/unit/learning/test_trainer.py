from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hierfl.learning.flat_model import FlatModel
from hierfl.learning.prepare import Prepared, Standard
from hierfl.learning.samples import Samples, Tensors
from hierfl.learning.tasks import Classification
from hierfl.learning.trainer import Trainer, evaluate
from tests.unit.learning.conftest import build

TASK = Classification()


def make_trainer(flat: FlatModel, samples: Samples, batch_size: int) -> Trainer:
    return Trainer(TASK, flat, samples, batch_size)


def judge(flat: FlatModel, samples: Samples, size: int = 64) -> dict[str, float]:
    return evaluate(TASK, flat, samples, size)


@pytest.fixture
def split() -> Prepared:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (50, 1, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 10, (50,), generator=generator)
    standard = Standard(torch.tensor(127.0), torch.tensor(70.0))
    return Prepared(Tensors((images, labels)), standard)


def model() -> FlatModel:
    return FlatModel(build("cnn"))


def random(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


def test_a_batch_of_everything_gives_the_full_gradient(split):
    flat = model()
    loss = make_trainer(flat, split, batch_size=500).gradient(random(1))
    plain = build("cnn")
    images, labels = split.samples.batch(slice(None))
    inputs = (images.float() - 127) / 70
    expected = nn.functional.cross_entropy(plain(inputs), labels)
    expected.backward()
    gradient = torch.cat([p.grad.reshape(-1) for p in plain.parameters()]).numpy()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    assert np.allclose(flat.gradient, gradient, rtol=1e-3, atol=1e-6)


def test_the_generator_names_the_minibatch(split):
    trainer = make_trainer(model(), split, batch_size=8)
    trainer.gradient(random(1))
    first = trainer.model.gradient.copy()
    trainer.gradient(random(2))
    assert not np.array_equal(trainer.model.gradient, first)
    trainer.gradient(random(1))
    assert np.array_equal(trainer.model.gradient, first)


def test_samples_of_a_minibatch_are_distinct(split):
    class Recorder(Prepared):
        def batch(self, where):
            assert len(set(where.tolist())) == 20
            return super().batch(where)

    recorder = Recorder(split.samples, split.standard)
    for step in range(20):
        make_trainer(model(), recorder, batch_size=20).gradient(random(step))


def test_dropout_follows_the_generator_and_leaves_torchs_state(split):
    module = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10))
    trainer = make_trainer(FlatModel(module), split, batch_size=50)
    losses = []
    for key in (1, 2, 1):
        torch.rand(key)
        before = torch.get_rng_state()
        losses.append(trainer.gradient(random(key)))
        assert torch.equal(torch.get_rng_state(), before)
    assert losses[0] == losses[2] != losses[1]


def test_weights_are_never_changed(split):
    trainer = make_trainer(model(), split, batch_size=8)
    before = trainer.model.weights.copy()
    trainer.gradient(random(0))
    judge(trainer.model, split)
    assert np.array_equal(trainer.model.weights, before)


def test_examples_counts_the_shard(split):
    trainer = make_trainer(model(), split.take(torch.arange(7)), batch_size=8)
    assert (trainer.examples, trainer.batch_size) == (7, 7)


@pytest.mark.parametrize("batch_size", [1, 7, 50, 1000])
def test_evaluation_does_not_depend_on_the_batches(split, batch_size):
    flat = model()
    with torch.no_grad():
        images, labels = split.samples.batch(slice(None))
        outputs = flat.module((images.float() - 127) / 70)
        loss = nn.functional.cross_entropy(outputs, labels).item()
    evaluation = judge(flat, split, batch_size)
    assert evaluation["loss"] == pytest.approx(loss, rel=1e-5)
    assert evaluation["accuracy"] == (outputs.argmax(1) == labels).double().mean().item()


def test_evaluation_uses_evaluation_mode_and_goes_back(split):
    module = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Dropout(0.9), nn.Linear(64, 10))
    flat = FlatModel(module)
    before = flat.buffers()
    assert judge(flat, split) == judge(flat, split)
    assert np.array_equal(flat.buffers(), before)
    assert all(part.training for part in module.modules())


def test_descent_on_the_gradient_learns(split):
    trainer = make_trainer(model(), split, batch_size=32)
    before = judge(trainer.model, split)
    for step in range(200):
        trainer.gradient(random(step))
        trainer.model.weights -= np.float32(0.1) * trainer.model.gradient
    after = judge(trainer.model, split)
    assert after["loss"] < before["loss"] / 2
    assert after["accuracy"] > 0.9
