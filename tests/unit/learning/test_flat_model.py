from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hierfl.errors import ConfigError
from hierfl.learning.flat_model import FlatModel
from tests.unit.learning.conftest import build


def cnn() -> nn.Module:
    return build("cnn", (1, 28, 28), seed=3)


def backward(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(8, 1, 28, 28, generator=generator)
    nn.functional.cross_entropy(module(inputs), torch.arange(8)).backward()


def test_weights_are_the_parameters_in_the_layouts_order():
    plain, flat = cnn(), FlatModel(cnn())
    expected = torch.cat([p.detach().reshape(-1) for p in plain.parameters()]).numpy()
    assert np.array_equal(flat.weights, expected)
    assert flat.layout.names == tuple(name for name, _ in plain.named_parameters())
    assert flat.layout.shapes == tuple(tuple(p.shape) for p in plain.parameters())


def test_writing_weights_changes_the_module_and_the_other_way_round():
    flat = FlatModel(cnn())
    flat.weights[:] = np.arange(flat.layout.d, dtype=np.float32)
    last = list(flat.module.parameters())[-1]
    assert last.tolist() == list(range(flat.layout.d - 10, flat.layout.d))
    with torch.no_grad():
        last.fill_(0.5)
    assert np.array_equal(flat.weights[-10:], np.full(10, 0.5, np.float32))


def test_gradient_is_torchs_own_and_stays_in_place():
    plain, flat = cnn(), FlatModel(cnn())
    backward(plain)
    expected = torch.cat([p.grad.reshape(-1) for p in plain.parameters()]).numpy()
    for _ in range(2):
        flat.zero_gradient()
        backward(flat.module)
        assert np.array_equal(flat.gradient, expected)
    backward(flat.module)
    assert np.allclose(flat.gradient, 2 * expected)


def test_frozen_parameters_are_left_out():
    module = cnn()
    module[0].requires_grad_(False)
    before = module[0].weight.clone()
    flat = FlatModel(module)
    assert flat.layout.d == 82_922 - 16 * 26
    flat.weights[:] = 0
    assert torch.equal(module[0].weight, before)


def test_tied_parameters_appear_once_and_gather_both_gradients():
    module = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    module[1].weight = module[0].weight
    flat = FlatModel(module)
    assert flat.layout.names == ("0.weight",)
    flat.weights[:] = np.eye(3, dtype=np.float32).reshape(-1)
    flat.module(torch.eye(3)).sum().backward()
    assert np.array_equal(flat.gradient, np.full(9, 2.0, np.float32))


def test_scalar_parameters():
    module = nn.Module()
    module.scale = nn.Parameter(torch.tensor(3.0))
    flat = FlatModel(module)
    flat.weights[0] = 4.0
    assert module.scale.item() == 4.0


def test_unsupported_parameters_are_named():
    with pytest.raises(ConfigError, match=r"parameter weight is torch\.float64"):
        FlatModel(nn.Linear(2, 2).double())
    with pytest.raises(ConfigError, match="no trainable parameters"):
        FlatModel(nn.ReLU())


def test_buffers_round_trip_and_reach_the_module():
    flat = FlatModel(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)))
    flat.module(torch.randn(16, 4))
    kept = flat.buffers()
    assert flat.buffer_layout.shapes == ((4,), (4,), ())
    assert np.array_equal(kept[:4], flat.module[1].running_mean.numpy())
    flat.module(torch.randn(16, 4))
    assert not np.array_equal(flat.buffers(), kept)
    flat.set_buffers(kept)
    assert np.array_equal(flat.buffers(), kept)
    assert flat.module[1].num_batches_tracked.item() == 1


def test_averaged_integer_buffers_are_rounded():
    flat = FlatModel(nn.BatchNorm1d(2))
    flat.set_buffers(np.array([0.25, 0.5, 1, 2, 6.7], np.float32))
    assert flat.module.running_mean.tolist() == [0.25, 0.5]
    assert flat.module.num_batches_tracked.item() == 7


def test_buffers_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"\(4,\)"):
        FlatModel(nn.BatchNorm1d(2)).set_buffers(np.zeros(4, np.float32))


def test_models_without_buffers_and_caches_that_are_no_state():
    module = nn.Linear(2, 2)
    module.register_buffer("cache", torch.zeros(5), persistent=False)
    flat = FlatModel(module)
    assert flat.buffers().shape == (0,)
    flat.set_buffers(flat.buffers())
