"""Mistakes with data, models and tasks: one screen, before anything is trained, no traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hierfl.cli import main

EDGES = ["--set", "edges=[{name: e, devices: [d, f]}]"]
RNG = np.random.default_rng(3)

OWN = """
import torch
from torch import nn
import hierfl

class Base(hierfl.Task):
    def load(self, node):
        x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
        return hierfl.Data((x, x.sum(1)))
    def build(self, facts):
        return nn.Linear(3, 1)
    def loss(self, model, batch):
        return (model(batch[0])[:, 0] - batch[1]).square().mean()
    def metrics(self, model, batch):
        return {"examples": len(batch[1])}

class BadForward(Base):
    def build(self, facts):
        return Net()

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)
    def forward(self, inputs):
        return self.layer(inputs)  # of three

class BadLoad(Base):
    def load(self, node):
        return hierfl.Data(torch.load(node.root / "table.pt"))

def net(shape):
    return Net()

def negative():
    x = torch.zeros(20, 3)
    return (x, torch.arange(20) - 1), (x, torch.zeros(20))

def gaps():
    x = torch.zeros(20, 3)
    return (x, torch.arange(20) % 2 * 3), (x, torch.zeros(20))

def halves():
    x = torch.zeros(20, 3)
    return (x, torch.arange(20) / 2), (x, torch.zeros(20))

def pixels():
    x = torch.zeros(20, 1, 4, 4)
    return (x, torch.zeros(20, 4, 4).long()), (x, torch.zeros(20, 4, 4).long())
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "t.yaml").write_text("edges: [{name: e, devices: [d, f]}]")
    (tmp_path / "mine_13.py").write_text(OWN)
    for name in ("d", "f"):
        (tmp_path / "data" / name).mkdir(parents=True)
        table = RNG.normal(size=(30, 3)).round(2)
        head = "a,b,y" if name == "d" else "a,c,y"
        np.savetxt(tmp_path / "data" / name / "1.csv", table, "%g", ",", header=head, comments="")
    (tmp_path / "empty").mkdir()
    yield tmp_path
    sys.modules.pop("mine_13", None)


CSV = "task=regression", "model=mlp", "data.dataset={csv: {target: y}}"
ONE = *CSV, "data.root=data/d"
OWNED = *CSV, "data.root=data/{name}", "data.partition.kind=own"


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        # a partition that cannot be made
        (["data.dataset=digits", "model=mlp", "data.partition={kind: shards, classes: 2}",
          "edges=[{name: e, devices: 2}, {name: w, devices: 2}]"], ["data.partition", "classes"]),
        (["data.dataset=digits", "model=mlp", "edges=[{name: e, devices: 2000}]"],
         ["data.partition", "without samples"]),
        ([*ONE, "edges=[{name: e, devices: 40}]"], ["data.partition", "without samples"]),
        # a model that does not fit
        ([*ONE, "model=cnn"], ["model", "cnn", "(2,)", "mlp"]),
        ([*ONE, "model=mine_13:net"], ["model", "mine_13.py", "self.layer(inputs)", "(2,)"]),
        (["task=mine_13:BadForward"], ["mine_13.py", "self.layer(inputs)"]),
        ([*ONE, "task=mine_13:Bass"], ["mine_13", "Did you mean 'Base'?"]),
        # data that are not there
        ([*CSV, "data.root=nowhere"], ["nowhere", "data.root"]),
        ([*CSV, "data.root=empty"], ["empty", "*.csv", "The folder is empty"]),
        ([*OWNED[:3], "data.root=nowhere/{name}", "data.partition.kind=own"], ["nowhere/d"]),
        (["task=mine_13:BadLoad", "data.root=nowhere/{name}"],
         ["mine_13.py", "torch.load", "data.root", "nowhere/"]),
        # targets that the task cannot learn from
        (["data.dataset=mine_13:negative", "model=mlp"], ["classes from 0 up; there is -1"]),
        (["data.dataset=mine_13:gaps", "model=mlp"], ["class 1", "there is a class 3"]),
        (["data.dataset=mine_13:halves", "model=mlp"], ["0.5", "task: regression"]),
        (["data.dataset=mine_13:pixels", "model=mlp"], ["(4, 4)", "task: segmentation"]),
        ([*ONE, "task=classification"], ["y", "task: regression"]),
        (["data.dataset=mine_13:gaps", "task=segmentation", "model=mlp"],
         ["each pixel", "task: classification"]),
        ([*ONE, "task=next-token"], ["next-token", "integers"]),
        ([*CSV[:2], "data.root=data/d", "data.dataset=csv"], ["csv"]),
        ([*CSV[:2], "data.root=data/d", "data.dataset={csv: {}}"], ["no targets"]),
    ],
)  # fmt: skip
def test_validate_finds_it(
    sets: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    given = [part for text in sets for part in ("--set", text)]
    one_screen(["validate", "t.yaml", *given], words, capsys)


def test_a_root_that_is_not_there_is_no_reason_to_look_elsewhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ["--set", "runtime=memory", "--set", "data.root=nowhere", "--set", "model=mlp"]
    one_screen(["run", "t.yaml", "--out", "out", *given], ["nowhere", "data.root"], capsys)


def test_devices_with_other_columns_are_both_named(capsys: pytest.CaptureFixture[str]) -> None:
    given = [part for text in OWNED for part in ("--set", text)]
    arguments = ["run", "t.yaml", "--set", "runtime=memory", "--out", "out", *given]
    one_screen(arguments, ["column", "missing at", " d", " f"], capsys)


def one_screen(arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    said = capsys.readouterr().err
    assert end.value.code in (1, 2), said
    for word in words:
        assert word in said
    assert "Traceback" not in said
    assert len(said.splitlines()) < 20
