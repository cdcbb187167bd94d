"""What one device cannot learn from, or not with the others: said before a run, of which device."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hierfl.config import Config
from hierfl.config.read import make_config
from hierfl.errors import HierflError
from hierfl.learning.rehearsal import rehearse

NUMBER = itertools.count()
GOOD = "x,z,y\n" + "".join(f"{i},{-i},{i % 2}\n" for i in range(12))
X = np.random.Generator(np.random.PCG64(0)).normal(size=(12, 3)).astype(np.float32)
Y = np.arange(12) % 2


def config_of(folder: Path, dataset: object, **keys: object) -> Config:
    data = {"root": f"{folder}/{{name}}", "partition": {"kind": "own"}, "dataset": dataset}
    edges = [{"name": "e", "devices": ["a", "b"]}]
    return make_config({"model": "linear", "data": data, "edges": edges, **keys})


def said(config: Config) -> tuple[str, int]:
    with pytest.raises(HierflError) as caught:
        rehearse(config)
    return f"{caught.value.message} ({caught.value.hint})", caught.value.exit_code


def put(folder: Path, text: str | bytes | Mapping[str, np.ndarray], name: str) -> None:
    folder.mkdir(exist_ok=True)
    if isinstance(text, Mapping):
        arrays: Any = text
        np.savez(folder / name, **arrays)
    else:
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "b/rows.csv: the file is empty"),
        ("x,y,z\n", "b, csv: there are no samples"),
        ("x,y\n1,0\n", "the column 'z' is missing at b"),
        ("x,z\n1,0\n", "b/rows.csv: there is no column 'y'"),
        (GOOD.replace(",", ";"), "Its columns are divided by ';': set data.dataset.csv.delimiter"),
        (GOOD + "1,5,3,0\n", "rows.csv, line 14: it has 4 cells, and there are 3 columns (Decimal"),
        (GOOD + "1,0\n", "rows.csv, line 14: it has 2 cells, and there are 3 columns"),
        (GOOD + "1,2,\n", "line 14: the column y should name classes; the cell is empty"),
        (GOOD + "1,2,0.5\n", "line 14: the column y should name classes; there is 0.5"),
        (GOOD + "1,2,nan\n", "line 14: the column y should name classes; there is nan"),
        (GOOD + "1,inf,0\n", "line 14, column z: inf is not finite"),
        (GOOD + ",2,0\n", "line 14, column x: '' is no number"),
        (GOOD.encode("utf-16"), "b/rows.csv: it is no UTF-8 text"),
        ("y\n1\n0\n", "b/rows.csv: besides the target there is no column to learn from"),
        ("x,z,y\n1,2,cat\n1,3,dog\n", "classes are called like 'cat' at b and '0' at a"),
    ],
)
def test_a_csv_file_of_one_device(text: str | bytes, words: str, tmp_path: Path) -> None:
    put(tmp_path / "a", GOOD, "rows.csv")
    put(tmp_path / "b", text, "rows.csv")
    assert words in said(config_of(tmp_path, {"csv": {"target": "y"}}))[0]


def test_a_head_may_take_several_lines(tmp_path: Path) -> None:
    for name in "ab":
        put(tmp_path / name, '\n"x\nof it",y\n1,0\n2,1\n', "rows.csv")
    assert rehearse(config_of(tmp_path, {"csv": {"target": "y"}})).model.layout.d == 4


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": X}, "b/rows.npz: there is no array 'y'"),
        ({"x": X.astype(object), "y": Y}, "the array 'x' is of type object"),
        ({"x": X[:, :2], "y": Y}, "inputs have shape (2,) at b and (3,) at a"),
        ({"x": X.astype(int), "y": Y}, "inputs are of type int64 at b and float32 at a"),
        ({"x": X, "y": Y[:5]}, "its arrays must be as many"),
        ({"x": np.where(X > 1.3, np.inf, X), "y": Y}, "of {}/b/rows.npz, at ("),
        ({"x": X, "y": Y - 1}, "there is -1 at row 0 of {}/b/rows.npz"),
        ({"x": X, "y": Y + 0.5}, "there is 0.5 at row 0 of {}/b/rows.npz"),
        ({"x": X[:, :0], "y": Y}, "there is nothing in an input"),
    ],
)
def test_an_npz_file_of_one_device(
    arrays: Mapping[str, np.ndarray], words: str, tmp_path: Path
) -> None:
    put(tmp_path / "a", {"x": X, "y": Y}, "rows.npz")
    put(tmp_path / "b", arrays, "rows.npz")
    assert words.format(tmp_path) in said(config_of(tmp_path, {"npz": {}}))[0]


def test_two_files_whose_rows_differ(tmp_path: Path) -> None:
    put(tmp_path / "a", {"x": X, "y": Y}, "1.npz")
    put(tmp_path / "a", {"x": X[:, :2], "y": Y}, "2.npz")
    assert "2.npz: their rows are not alike" in said(config_of(tmp_path, {"npz": {}}))[0]


@pytest.mark.parametrize(
    ("shape", "words"),
    [((12, 1), "int64 [n] for n samples"), ((12, 2), "not [n, 1] or one-hot"),
     ((12, 2, 2), "task: segmentation")],
)  # fmt: skip
def test_targets_of_another_shape_are_a_matter_of_the_task(
    shape: tuple[int, ...], words: str, tmp_path: Path
) -> None:
    for name in "ab":
        put(tmp_path / name, {"x": X, "y": np.zeros(shape, int)}, "rows.npz")
    message, code = said(config_of(tmp_path, {"npz": {}}))
    assert words in message
    assert code == 2


HEAD = """
import sys
import torch
import hierfl
from torch import nn
from torch.utils.data import Dataset

X, Y = torch.randn(12, 3), torch.arange(12) % 2


class D(Dataset):
    def __len__(self):
        return 12

    def __getitem__(self, index):
        return X[index], int(Y[index])


class B(hierfl.Task):
    def load(self, node):
        return hierfl.Data((X, Y.float()))

    def build(self, facts):
        return nn.Linear(3, 1)

    def loss(self, model, batch):
        return (model(batch[0])[:, 0] - batch[1]).square().mean()

    def metrics(self, model, batch):
        return {"examples": len(batch[0]), "error": 1.0}

"""
ITEM = "class E(D):\n    def __getitem__(self, index):\n        {}\n"


def module(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> str:
    name = f"bad_own_{next(NUMBER)}"
    (folder / f"{name}.py").write_text(HEAD + text)
    monkeypatch.chdir(folder)
    return name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def load(): return None", "must return hierfl.Data or (train, test), not NoneType"),
        ("def load(): sys.exit(0)", "SystemExit: 0"),
        ("def load(): return hierfl.Data(['a', 'b'])", "a sample holds a str, 'a': no number"),
        ("def load(): return hierfl.Data((X, Y[:7]))", "must be as many"),
        ("def load(): return hierfl.Data((X.to_sparse(), Y))", "is torch.sparse_coo"),
        ("def load(): return hierfl.Data((X.to('meta'), Y))", "has no values (meta)"),
        ("def load(): return hierfl.Data((X, Y), labels=['a', 'a'])", "labels holds 'a' twice"),
        ("def load(): return hierfl.Data((X, Y), labels=[1, 2])", "labels must be a list of texts"),
        ("def load(): return hierfl.Data((X, Y), columns=['a'])", "1 names of columns for 3"),
        (ITEM.format("return X[index], 1 // (7 - index)"), "sample 7 of E failed:\n"),
        (ITEM.format("sys.exit(index == 7)"), "SystemExit"),
        (ITEM.format("return X[index], 'cat'"), "a sample holds a str, 'cat'"),
        (ITEM.format("return X[index] / (index != 7), index % 2"), "the input of sample 7, at ("),
        ("class E(D):\n    def __len__(self): return -1\n", "__len__() should return >= 0"),
        ("class E(D):\n    def __len__(self): return 0\n", "there are no samples"),
        ("class E(D):\n    def __len__(self): return 1 // 0\n", "E.__len__ failed:\n"),
    ],
)
def test_data_of_ones_own_code(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "class E" in text:
        text += "def load(): return hierfl.Data(E())\n"
    name = module(tmp_path, monkeypatch, text)
    assert words in said(config_of(tmp_path, f"{name}:load"))[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def loss(self, m, b): return None", "one number for the batch, not a NoneType"),
        ("def loss(self, m, b): sys.exit(3)", "SystemExit: 3\n  File "),
        ("def metrics(self, m, b): return None", "metrics must return {name: sum}, not None"),
        ("def metrics(self, m, b): return {'examples': 0}", "metrics are of 0 examples"),
        ("def metrics(self, m, b): return {'examples': 1, 'a': 'x'}", "'a' is no number: 'x'"),
        ("metrics = hierfl.Task.metrics", "does not say how good a model is"),
        ("def compute(self, sums): return None", "compute must return {name: number}, not None"),
        ("def compute(self, sums): return {'a': None}", "compute must return {name: number}"),
        ("def build(self, facts): sys.exit('no')", "SystemExit: no"),
        ("def build(self, facts): return nn.Linear(3, 1).requires_grad_(False)", "no trainable"),
        ("def build(self, facts):\n        m = nn.Linear(3, 1)\n        "
         "nn.init.constant_(m.bias, float('nan'))\n        return m", "of bias are not all finite"),
    ],
)  # fmt: skip
def test_a_task_of_ones_own(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = module(tmp_path, monkeypatch, f"class T(B):\n    {text}\n")
    config = config_of(tmp_path, "digits", task=f"{name}:T")
    data = config.data.model_copy(update={"validation": 0.25})
    message, code = said(config.model_copy(update={"data": data}))
    assert words in message
    assert code == 2


def test_a_module_that_ends_the_program_when_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = module(tmp_path, monkeypatch, "sys.exit(4)\n")
    assert "SystemExit: 4" in said(config_of(tmp_path, f"{name}:load"))[0]


def test_a_backward_pass_that_fails_is_found_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
class F(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        raise ValueError("no way back")


class T(B):
    def loss(self, model, batch):
        return F.apply(super().loss(model, batch))
"""
    name = module(tmp_path, monkeypatch, text)
    message, code = said(config_of(tmp_path, "digits", task=f"{name}:T"))
    assert "a batch of 12 samples fails: no way back" in message
    assert code == 2


def test_the_smallest_batch_is_the_one_that_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = "def build(): return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))\n"
    name = module(tmp_path, monkeypatch, net)
    put(tmp_path / "a", {"x": X, "y": Y}, "rows.npz")
    put(tmp_path / "b", {"x": X[:1], "y": Y[:1]}, "rows.npz")
    message, _ = said(config_of(tmp_path, {"npz": {}}, model=f"{name}:build"))
    assert "b: a batch of 1 sample is too small for this model's BatchNorm" in message


def test_a_target_is_no_feature(tmp_path: Path) -> None:
    with pytest.raises(HierflError, match="y is a target and a feature"):
        config_of(tmp_path, {"csv": {"target": "y", "features": ["x", "y"]}})


def test_models_that_are_to_be_compared_need_a_judge(tmp_path: Path) -> None:
    for name in "ab":
        put(tmp_path / name, GOOD, "rows.csv")
    config = config_of(tmp_path, {"csv": {"target": "y"}}, evaluate={"patience": 3})
    message, code = said(config)
    assert "no device holds out data to judge them by (Set data.validation" in message
    assert code == 2
    put(tmp_path / "cloud", GOOD + "1,2\n", "rows.csv")
    assert "cloud, csv: " in said(config)[0]
    put(tmp_path / "cloud", GOOD, "rows.csv")
    assert rehearse(config).metrics == 0


@pytest.mark.parametrize("hidden", [[0], -3, ["a"], [2.5], [True]])
@pytest.mark.parametrize("name", ["mlp", "autoencoder"])
def test_sizes_of_layers(name: str, hidden: object, tmp_path: Path) -> None:
    for device in "ab":
        put(tmp_path / device, GOOD, "rows.csv")
    config = config_of(tmp_path, {"csv": {"target": "y"}}, model={name: {"hidden": hidden}})
    assert "hidden should be a list of sizes from 1 up" in said(config)[0]


def test_a_built_in_set_may_be_each_devices_own() -> None:
    data = {"dataset": "digits", "partition": {"kind": "own"}}
    edges = [{"name": "e", "devices": 2}]
    assert rehearse(make_config({"model": "linear", "data": data, "edges": edges})).model
