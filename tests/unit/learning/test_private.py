"""Clipped and noised gradients: what the accountant takes for granted, one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from hierfl.config import load_config
from hierfl.errors import CheckpointError, ConfigError
from hierfl.learning.flat_model import FlatModel
from hierfl.learning.private import Mechanism, PrivateTrainer
from hierfl.learning.samples import Tensors
from hierfl.learning.tasks import make_task
from hierfl.numerics.rng import generator
from hierfl.numerics.secret_noise import SecretNoise

ALL = Mechanism(rate=1.0, clip=0.5, noise_multiplier=1e-9, budget=1000)


def trainer(
    mechanism: Mechanism, inputs: torch.Tensor | None = None, module: nn.Module | None = None
) -> PrivateTrainer:
    torch.manual_seed(0)
    values = torch.randn(40, 6) if inputs is None else inputs
    samples = Tensors((values, torch.arange(len(values)) % 3))
    task = make_task(load_config(None, []))
    return PrivateTrainer(task, FlatModel(module or nn.Linear(6, 3)), samples, mechanism)


def at(step: int) -> np.random.Generator:
    return generator(1, "pi-1", 1, step, "minibatch")


def gradient(of: PrivateTrainer, step: int) -> np.ndarray:
    assert of.gradient(at(step)) == 0.0  # no loss is told
    return of.model.gradient.copy()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e20, float("nan"), float("inf")])
def test_no_sample_moves_the_sum_by_more_than_clip(scale: float) -> None:
    inputs = torch.randn(10, 6, generator=torch.Generator().manual_seed(3))
    with_it = inputs.clone()
    with_it[4] *= scale
    without = torch.cat((inputs[:4], inputs[5:]))
    labels = torch.cat((torch.arange(10)[:4], torch.arange(10)[5:])) % 3
    whole, less = trainer(ALL, with_it), trainer(ALL, without)
    less.samples = Tensors((without, labels))
    less.model.weights[:] = whole.model.weights
    moved = gradient(whole, 1) * 10.0 - gradient(less, 1) * 9.0
    assert np.linalg.norm(moved) <= 0.5 * (1 + 1e-5)
    if not np.isfinite(scale):
        np.testing.assert_allclose(moved, 0, atol=1e-6)


def test_noise_is_normal_and_of_the_size_that_was_asked_for() -> None:
    few = Mechanism(rate=1e-9, clip=0.5, noise_multiplier=3.0, budget=1000)
    one = trainer(few, module=nn.Sequential(nn.Linear(6, 300), nn.Linear(300, 3)))
    noise = np.concatenate([gradient(one, step) for step in range(1, 9)]).astype(np.float64)
    noise *= 1e-9 * 40 / (3.0 * 0.5)
    assert stats.kstest(noise, "norm").pvalue > 0.001
    assert abs(noise.std() - 1) < 0.02


def test_each_sample_is_drawn_by_itself() -> None:
    noise = SecretNoise(b"s" * 32, (b"step",))
    drawn = noise.uniform(400_000).reshape(2000, 200) < 0.05
    assert abs(drawn.mean() - 0.05) < 0.002
    sizes = drawn.sum(axis=1)
    assert abs(sizes.var() / (200 * 0.05 * 0.95) - 1) < 0.15  # binomial, not a fixed size


def test_the_noise_is_that_of_secret_step_and_weights_and_of_nothing_public() -> None:
    mechanism = Mechanism(rate=0.2, clip=1.0, noise_multiplier=1.0, budget=1000)
    one, other = trainer(mechanism), trainer(mechanism)
    other.restore(one.keep())
    first = gradient(one, 1)
    np.testing.assert_array_equal(first, gradient(one, 1))
    np.testing.assert_array_equal(first, gradient(other, 1))
    assert not np.array_equal(first, gradient(one, 2))
    assert not np.array_equal(first, gradient(trainer(mechanism), 1))  # all that is public is alike
    one.model.weights[0] = np.nextafter(one.model.weights[0], np.float32(9))
    assert np.abs(first - gradient(one, 1)).max() > 0.01  # noise that cancels would leave nothing


def test_beyond_the_budget_there_is_no_gradient_but_a_repetition_is_free() -> None:
    one = trainer(Mechanism(rate=0.2, clip=1.0, noise_multiplier=1.0, budget=2))
    known = [gradient(one, 1), gradient(one, 2)]
    assert np.isnan(gradient(one, 3)).all()
    np.testing.assert_array_equal(gradient(one, 2), known[1])
    again = trainer(one.mechanism)
    again.restore(one.keep())
    assert np.isnan(gradient(again, 3)).all()  # a restart gives no new budget


def test_what_is_no_secret_is_refused() -> None:
    with pytest.raises(CheckpointError, match="no secret"):
        trainer(ALL).restore(b"")


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3)), "too small for this model's BatchNorm"),
        (
            nn.Sequential(
                nn.Unflatten(1, (1, 6)), nn.BatchNorm1d(1), nn.Flatten(), nn.Linear(6, 3)
            ),
            "keeps statistics of the data in 1.running_mean",
        ),
    ],
)
def test_a_model_that_keeps_statistics_is_refused(module: nn.Module, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        trainer(ALL, module=module).try_once("pi-1")


def test_a_model_that_mixes_nothing_is_tried_and_left_as_it_was() -> None:
    one = trainer(ALL, module=nn.Sequential(nn.Linear(6, 4), nn.GroupNorm(2, 4), nn.Linear(4, 3)))
    before = one.model.weights.copy()
    one.try_once("pi-1")
    np.testing.assert_array_equal(before, one.model.weights)
    judged: Any = one.judge("loss")
    assert judged is None
