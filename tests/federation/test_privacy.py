"""Noised gradients in a federation: the noise survives its device, and what is spent is said."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from torch import nn

from cloud.views.base import View
from deploy.launcher.in_process import run_memory
from hierfl.config import load_config
from hierfl.learning.flat_model import FlatModel
from hierfl.learning.private import Mechanism, PrivateTrainer
from hierfl.learning.samples import Tensors
from hierfl.learning.tasks import make_task
from hierfl.planning.plan import resolve
from hierfl.planning.privacy import Spending
from tests.federation.test_recovery import NAMES, SETS, run

PRIVATE = ["privacy.epsilon=8", "privacy.delta=1e-5", "privacy.noise_multiplier=1.5"]
BUDGET = 9


def linear() -> FlatModel:
    torch.manual_seed(0)
    return FlatModel(nn.Linear(4, 3))


class Trainers:
    """A device's first process has a secret that is known here, all later ones draw their own."""

    def __init__(self) -> None:
        self._started: set[str] = set()

    def __call__(self, name: str) -> PrivateTrainer:
        values = torch.Generator().manual_seed(len(name))
        samples = Tensors(
            (torch.randn(20, 4, generator=values), torch.randint(3, (20,), generator=values))
        )
        task = make_task(load_config(None, SETS))
        trainer = PrivateTrainer(task, linear(), samples, Mechanism(0.3, 1.0, 1.5, BUDGET))
        if name not in self._started:
            self._started.add(name)
            trainer.restore(name.encode().ljust(32, b"\0") + bytes(8))
        return trainer


@pytest.mark.parametrize("algorithm", ["hier-signsgd", "distributed-lion-mean"])
def test_a_device_that_is_restarted_has_the_noise_that_it_had(algorithm: str) -> None:
    sets, layout = [*PRIVATE, f"algorithm.name={algorithm}"], linear().layout
    hashes, restarts = set(), 0
    # Its secret is kept with its first base, which is its first message.
    for crashes in (
        {},
        {name: {2: "before", 5: "after"} for name in NAMES if "-" in name},
        {name: {3: "after"} for name in NAMES} | {"east-0": {2: "after", 4: "before", 9: "after"}},
    ):
        with TemporaryDirectory() as folder:
            found, count = run(crashes, False, sets, Path(folder), Trainers(), layout)
        hashes.add(found)
        restarts += count
    assert restarts > 6
    assert len(hashes) == 1


def test_what_is_spent_is_in_every_line_and_in_the_summary(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("dp_accounting")
    sets = ["model=mlp", "data.dataset=digits", "runtime=memory", "privacy.rate=0.02",
            "privacy.epsilon=3", "privacy.delta=1e-5",
            "algorithm.rounds=2", "algorithm.edge_steps=2"]  # fmt: skip
    config = resolve(load_config(None, sets))
    run_memory(config, tmp_path, View())
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    spent = Spending(config)
    assert [line["epsilon"] for line in lines] == [spent.after(1), spent.after(2)]
    assert 0 < lines[0]["epsilon"] < lines[1]["epsilon"] <= 3
    assert all("train_loss" not in line for line in lines)
    assert config.privacy is not None
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["privacy"] == {
        "epsilon": lines[1]["epsilon"],
        "delta": 1e-5,
        "noise_multiplier": config.privacy.noise_multiplier,
    }
