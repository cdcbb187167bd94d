"""A warm start: what a file must be, and that the first base is what it holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from cloud.views.base import View
from deploy.launcher.in_process import run_memory
from hierfl.config import load_config
from hierfl.errors import ConfigError, HierflError
from hierfl.learning.flat_model import FlatModel
from hierfl.learning.model_file import start_from
from hierfl.planning.plan import resolve


def small() -> FlatModel:
    torch.manual_seed(3)
    return FlatModel(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)))


def tensors(model: FlatModel) -> dict[str, np.ndarray]:
    module = model.module.state_dict()
    return {name: tensor.numpy().copy() for name, tensor in module.items()}


def test_parameters_and_buffers_are_the_file_s(tmp_path: Path) -> None:
    path, model = tmp_path / "model.safetensors", small()
    wanted = {name: np.asarray(tensor + 3) for name, tensor in tensors(model).items()}
    save_file(wanted, path)
    start_from(model, path)
    for name, tensor in tensors(model).items():
        np.testing.assert_array_equal(tensor, wanted[name], strict=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("0.bias"), "has no tensor 0.bias"),
        (lambda t: t.update(head=np.ones(1)), "has a tensor that the model has not: head"),
        (lambda t: t.update({"0.bias": np.ones(3, np.float32)}), r"0.bias of shape \(3,\), not"),
        (lambda t: t.update({"0.bias": np.full(2, np.nan, np.float32)}), "0.bias that is not fini"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_and_changes_nothing(
    change: Callable[[dict[str, np.ndarray]], object], said: str, tmp_path: Path
) -> None:
    path, model = tmp_path / "model.safetensors", small()
    changed = tensors(model)
    changed["0.weight"] += 1
    change(changed)
    save_file(changed, path)
    before = tensors(model)
    with pytest.raises(ConfigError, match=said) as caught:
        start_from(model, path)
    assert caught.value.path == "start_from"
    for name, tensor in tensors(model).items():
        np.testing.assert_array_equal(tensor, before[name])


@pytest.mark.parametrize(
    ("content", "said", "code"),
    [(None, "cannot be read: No such file", 1), (b"x" * 99, "no safetensors", 2)],
)
def test_what_cannot_be_read_is_named(
    content: bytes | None, said: str, code: int, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(HierflError, match=said) as caught:
        start_from(small(), path)
    assert caught.value.exit_code == code, "a folder may not be mounted yet"


def test_a_run_goes_on_from_another_run_s_model(tmp_path: Path) -> None:
    sets = [
        "runtime=memory", "data.dataset=digits", "model=mlp", "algorithm.rounds=1",
        "algorithm.edge_steps=2", "downlink.codec=float32",
    ]  # fmt: skip
    cold, warm, still = (tmp_path / name for name in ("cold", "warm", "still"))
    run(sets, cold)
    ended = cold / "model.safetensors"
    run([*sets, f"start_from={ended}", "algorithm.lr=1e-30"], still)
    for name, tensor in load_file(ended).items():
        np.testing.assert_array_equal(load_file(still / "model.safetensors")[name], tensor)
    run([*sets, f"start_from={ended}"], warm)
    moved = load_file(warm / "model.safetensors")
    assert all((moved[name] != tensor).any() for name, tensor in load_file(ended).items())


def run(sets: list[str], out: Path) -> None:
    out.mkdir()
    run_memory(resolve(load_config(None, sets)), out, View())
