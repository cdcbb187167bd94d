"""Where torch computes: on copies elsewhere, the same gradients and figures come out.

No GPU is needed: the CPU stands for one here, with copies as on a GPU, and the meta device shows
that nothing is left on the host. That a GPU computes as it should, these tests do not show.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hierfl.config import Config, load_config
from hierfl.errors import ConfigError
from hierfl.learning.flat_model import FlatModel
from hierfl.learning.model_file import to_safetensors
from hierfl.learning.processor import moved, processor
from hierfl.learning.samples import Tensors
from hierfl.learning.tasks import BUILT_IN
from hierfl.learning.trainer import Trainer, evaluate
from hierfl.protocol.facts import Facts, Moments

CPU = torch.device("cpu")


def module() -> nn.Module:
    torch.manual_seed(1)
    frozen = nn.Linear(6, 8).requires_grad_(False)
    layers = frozen, nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 3)
    return nn.Sequential(*layers).train()


def trainer(there: bool) -> Trainer:
    draw = torch.Generator().manual_seed(2)
    inputs = torch.randn(40, 6, generator=draw)
    samples = Tensors((inputs, (inputs[:, 0] > 0).long() + (inputs[:, 1] > 1).long()))
    model = FlatModel(module())
    if there:
        model.to(CPU)
    return Trainer(BUILT_IN["classification"](), model, samples, 8, samples)


def test_copies_give_the_same_bits() -> None:
    here, there = trainer(False), trainer(True)
    for step in range(5):
        losses = [one.gradient(np.random.Generator(np.random.PCG64(step))) for one in (here, there)]
        assert losses[0] == losses[1]
        assert here.model.gradient.tobytes() == there.model.gradient.tobytes()
        for one in (here, there):
            one.model.weights -= np.float32(0.1) * one.model.gradient
    assert here.model.buffers().tobytes() == there.model.buffers().tobytes()
    assert evaluate(here.task, here.model, here.samples) == evaluate(
        there.task, there.model, there.samples
    )
    there.model.set_buffers(there.model.buffers() + 1)
    here.model.set_buffers(here.model.buffers() + 1)
    there.model.weights += 1
    here.model.weights += 1
    there.model.enter()
    assert to_safetensors(here.model.module) == to_safetensors(there.model.module)
    assert here.model.fingerprint() == there.model.fingerprint()


def test_weights_on_the_host_are_not_changed_by_the_module() -> None:
    one = trainer(True)
    before = one.model.weights.copy()
    with torch.no_grad():
        for parameter in one.model.module.parameters():
            parameter.add_(1)
    assert one.model.weights.tobytes() == before.tobytes()
    one.gradient(np.random.Generator(np.random.PCG64(0)))
    views = one.model.layout.views(before)
    for name, parameter in one.model.module.named_parameters():
        if parameter.requires_grad:
            assert (parameter.detach().numpy() == views[name]).all()


META = torch.device("meta")
VALUES = torch.zeros(5, 2)
BATCHES = {
    "classification": ((torch.zeros(5, 6), torch.zeros(5, dtype=torch.int64)), nn.Linear(6, 3)),
    "regression": ((torch.zeros(5, 6), VALUES), nn.Linear(6, 2)),
    "reconstruction": ((torch.zeros(5, 6),), nn.Linear(6, 6)),
    "segmentation": (
        (torch.zeros(5, 2, 4, 4), torch.zeros(5, 4, 4, dtype=torch.int64)), nn.Conv2d(2, 3, 1),
    ),
    "next-token": (torch.zeros(5, 7, dtype=torch.int64), nn.Embedding(9, 9)),
}  # fmt: skip


@pytest.mark.parametrize("name", BATCHES)
def test_built_in_losses_leave_nothing_on_the_host(name: str) -> None:
    batch, model = BATCHES[name]
    task = BUILT_IN[name]()
    task.config = load_config(None)
    task.facts = Facts(5, targets=Moments(5, (1.0, 2.0), (3.0, 4.0)))
    loss = task.loss(model.to(META), moved(batch, META))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.device == META


def config(device: str) -> Config:
    return load_config(None, [f"device={device}"])


def test_each_node_has_its_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert processor(config("cpu"), "east-0") == processor(config("auto"), "cloud") == CPU
    chosen = config("{east-0: 'cuda:1', cloud: auto}")
    assert processor(chosen, "east-1") == CPU
    assert [chosen.processor_of(name) for name in ("east-0", "east-1")] == ["cuda:1", "cpu"]


def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert processor(config("auto"), "east-0") == torch.device("cuda")
    assert processor(config("cuda"), "east-0") == torch.device("cuda")
    with pytest.raises(ConfigError, match="east-0 is to compute on cuda:1, and this machine has 1"):
        processor(config("cuda:1"), "east-0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match="sees no GPU"):
        processor(config("cuda"), "east-0")


def test_mps_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="east-0 is to compute on mps, and torch"):
        processor(config("mps"), "east-0")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert processor(config("mps"), "east-0") == torch.device("mps")


@pytest.mark.parametrize("wrong", ["gpu", "cuda:x", "3", "{east-0: gpu}", "{nobody: cpu}", "[cpu]"])
def test_what_is_no_processor_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match="device"):
        config(wrong)
