"""A model in a file: all of it, in its own types, and back into the module that it is of."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import nn

from hierfl.config.digest import contrast
from hierfl.errors import ConfigError, render
from hierfl.learning.flat_model import FlatModel
from hierfl.learning.model_file import start_from, to_safetensors
from hierfl.learning.samples import Tensors
from hierfl.learning.tasks import Classification
from hierfl.learning.trainer import Trainer
from tests.unit.learning import nets
from tests.unit.learning.conftest import build

KINDS = pytest.mark.parametrize("make", nets.TRAINABLE, ids=lambda make: make.__name__)


def trained(make) -> FlatModel:
    """A model after some steps, so that no tensor is as it was built."""
    model = FlatModel(build(f"tests.unit.learning.nets:{make.__name__}"))
    draw = np.random.default_rng(0)
    samples = Tensors((torch.randn(40, 1, 8, 8), torch.arange(40) % 10))
    trainer = Trainer(Classification(), model, samples, 8)
    before = model.weights.copy()
    for _ in range(3):
        trainer.gradient(draw)
        assert np.isfinite(model.gradient).all() and model.gradient.any()
        model.weights -= np.float32(0.01) * np.sign(model.gradient)
    assert not np.array_equal(model.weights, before)
    return model


def same(one: nn.Module, other: nn.Module) -> None:
    here, there = one.state_dict(), other.state_dict()
    assert list(here) == list(there)
    for name, tensor in here.items():
        assert tensor.dtype == there[name].dtype and torch.equal(tensor, there[name]), name


@KINDS
def test_the_file_loads_strictly_as_safetensors_own(make, tmp_path: Path) -> None:
    model, path = trained(make), tmp_path / "model.safetensors"
    path.write_bytes(to_safetensors(model.module))
    fresh = build(f"tests.unit.learning.nets:{make.__name__}", seed=2)
    missing, unexpected = load_model(fresh, path, strict=True)
    assert not missing and not unexpected
    same(fresh, model.module)
    if make is not nets.Tied:
        fresh = build(f"tests.unit.learning.nets:{make.__name__}", seed=2)
        fresh.load_state_dict(load_file(path), strict=True)
        same(fresh, model.module)


def test_tied_tensors_are_written_as_save_model_does(tmp_path: Path) -> None:
    model = trained(nets.Tied)
    own, theirs = tmp_path / "own.safetensors", tmp_path / "theirs.safetensors"
    own.write_bytes(to_safetensors(model.module))
    plain = nets.Tied()
    plain.load_state_dict(model.module.state_dict())
    save_model(plain, theirs)
    with safe_open(own, "pt") as one, safe_open(theirs, "pt") as other:
        assert list(one.keys()) == list(other.keys()) == ["one.weight"]
        assert one.metadata()["other.weight"] == other.metadata()["other.weight"]


def write_torch(module: nn.Module, path: Path) -> None:
    torch.save(module.state_dict(), path)


def write_old_torch(module: nn.Module, path: Path) -> None:
    torch.save(module.state_dict(), path, _use_new_zipfile_serialization=False)


def write_checkpoint(module: nn.Module, path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": module.state_dict()}, path)


def write_safetensors(module: nn.Module, path: Path) -> None:
    path.write_bytes(to_safetensors(module))


@KINDS
@pytest.mark.parametrize(
    ("write", "suffix"),
    [
        (write_torch, ".pt"), (write_old_torch, ".pth"), (write_checkpoint, ".ckpt"),
        (write_safetensors, ".safetensors"),
    ],
)  # fmt: skip
def test_a_run_starts_from_what_pytorch_and_safetensors_save(make, write, suffix, tmp_path):
    model, path = trained(make), tmp_path / f"model{suffix}"
    write(model.module, path)
    other = FlatModel(build(f"tests.unit.learning.nets:{make.__name__}"))
    start_from(other, path)
    same(other.module, model.module)
    assert np.array_equal(other.weights, model.weights)


def test_half_precision_is_read(tmp_path: Path) -> None:
    model, path = trained(nets.batchnorm), tmp_path / "model.safetensors"
    state = {name: t.to(torch.bfloat16) for name, t in model.module.state_dict().items()}
    save_file(state, path)
    other = FlatModel(build("tests.unit.learning.nets:batchnorm"))
    start_from(other, path)
    for name, tensor in other.module.state_dict().items():
        assert torch.equal(tensor, state[name].to(tensor.dtype)), name


@pytest.mark.parametrize("before", ["_orig_mod.", "module."])
def test_names_of_wrappers_are_left_out(before: str, tmp_path: Path) -> None:
    model, path = trained(nets.plain), tmp_path / "model.pt"
    torch.save({before + name: t for name, t in model.module.state_dict().items()}, path)
    other = FlatModel(build("tests.unit.learning.nets:plain"))
    start_from(other, path)
    same(other.module, model.module)


def test_missing_and_excess_names_are_all_told(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"1.weight": torch.zeros(10, 64), "x": torch.zeros(1), "y": torch.zeros(1)}, path)
    with pytest.raises(ConfigError) as caught:
        start_from(FlatModel(nets.plain()), path)
    assert "has no tensor 1.bias and has a tensor that the model has not: x, y" in str(caught.value)


def test_frozen_values_may_be_rounded_in_the_file_and_stay_as_they_are(tmp_path: Path) -> None:
    model, path = FlatModel(nets.frozen()), tmp_path / "model.safetensors"
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    rounded = {
        name: tensor.to(torch.bfloat16) + (0 if name.startswith("1.") else 1)
        for name, tensor in before.items()
        if tensor.is_floating_point()
    }
    save_file({**before, **rounded}, path)
    start_from(model, path)
    after = model.module.state_dict()
    assert torch.equal(after["1.weight"], before["1.weight"])
    assert torch.equal(after["4.weight"], rounded["4.weight"].float())


def test_other_frozen_values_are_refused(tmp_path: Path) -> None:
    model, path = FlatModel(nets.frozen()), tmp_path / "model.pt"
    torch.save(nets.frozen().state_dict(), path)
    with pytest.raises(ConfigError, match=r"other values of 1\.(weight|bias), which is frozen"):
        start_from(model, path)


def test_pickles_of_more_than_tensors_are_not_run(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(nets.plain(), path)
    with pytest.raises(ConfigError, match="holds more than tensors"):
        start_from(FlatModel(nets.plain()), path)
    path.write_bytes(b"PK\3\4 damaged")
    with pytest.raises(ConfigError):
        start_from(FlatModel(nets.plain()), path)
    torch.save([1, 2], path)
    with pytest.raises(ConfigError, match="holds no state_dict"):
        start_from(FlatModel(nets.plain()), path)


@pytest.mark.parametrize("make", nets.REFUSED, ids=lambda make: make.__name__)
def test_what_cannot_be_trained_is_refused_in_a_clear_line(make) -> None:
    with pytest.raises(ConfigError) as caught:
        FlatModel(build(f"tests.unit.learning.nets:{make.__name__}"))
    text = render(caught.value)
    assert caught.value.path == "model" and len(text.splitlines()) <= 4
    assert re.search(nets.REFUSED[make], text), text


def test_lazy_parameters_that_no_one_has_given_a_shape_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"1\.weight is lazy"):
        FlatModel(nets.lazy())


class TestFingerprint:
    """Models that differ in anything that does not travel have other fingerprints."""

    def test_weights_and_values_of_buffers_travel(self) -> None:
        one, other = (
            FlatModel(build("tests.unit.learning.nets:batchnorm", seed=s)) for s in (1, 2)
        )
        assert one.fingerprint() == other.fingerprint()
        one.set_buffers(one.buffers() + 1)
        assert one.fingerprint() == other.fingerprint()

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (
                lambda m: m[1].weight.data.add_(1e-3),
                "1.weight is float32 [16, 64], frozen, values",
            ),
            (lambda m: m[1].requires_grad_(True), "and float32 [16], trained here; 1 more"),
            (lambda m: m[1].to(torch.float16), "and float16 [16], frozen"),
            (
                lambda m: m[2].register_buffer("more", torch.ones(2)),
                "2.more is absent at pi-1 and float32 [2]",
            ),
            (
                lambda m: m[2].register_buffer("cache", torch.ones(2), persistent=False),
                "2.cache is absent at pi-1",
            ),
            (
                lambda m: m[2].register_buffer("running_mean", torch.zeros(15)),
                "2.running_mean is float32 [16], buffer",
            ),
        ],
    )
    def test_what_does_not_travel_counts(self, change, said) -> None:
        torch.manual_seed(0)
        one = nets.frozen()
        torch.manual_seed(0)
        other = nets.frozen()
        before = FlatModel(one)
        assert before.fingerprint() == FlatModel(other).fingerprint()
        change(other)
        after = FlatModel(other)
        assert before.fingerprint() != after.fingerprint()
        assert said in contrast(before.fingerprint(), after.fingerprint(), "pi-1")
