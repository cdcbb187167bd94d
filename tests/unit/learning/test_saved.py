"""`hierfl evaluate` and `hierfl export`: the model of a run, on data and in files of others."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hierfl.learning.saved import load_model
from tests.unit.conftest import Run

DIGITS = """
runtime: memory
data: {dataset: digits}
model: mlp
algorithm: {edge_steps: 5, rounds: 2}
edges: [{name: east, devices: 2}]
"""
SENSORS = """
runtime: memory
task: reconstruction
model: {autoencoder: {hidden: [16, 2]}}
data:
  dataset: {csv: {features: [light, heat, soil]}}
  root: data/{name}
  partition: {kind: own}
algorithm: {name: hier-sgd, lr: 0.1, edge_steps: 20, rounds: 20, batch_size: 16}
edges: [{name: house, devices: [pi-1, pi-2]}]
"""
ENERGY = """
runtime: memory
task: regression
model: linear
data:
  dataset: {csv: {target: used}}
  root: data/{name}
  partition: {kind: own}
algorithm: {name: hier-sgd, lr: 0.1, edge_steps: 20, rounds: 10, batch_size: 16}
edges: [{name: house, devices: [pi-1, pi-2]}]
"""


def write_csv(path: Path, names: str, rows: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, rows, delimiter=",", header=names, comments="", fmt="%.5f")


def scores(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_is_evaluated_as_it_was(hierfl: Run) -> None:
    Path("t.yaml").write_text(DIGITS)
    assert hierfl("run", "t.yaml", "--out", "run").code == 0
    summary = json.loads(Path("run/summary.json").read_text())
    code, out, err = hierfl("evaluate", "run", "--out", "scores.csv")
    assert (code, err) == (0, "")
    said = dict(line.split() for line in out.splitlines()[:2])
    assert float(said["accuracy"]) == pytest.approx(summary["accuracy"], rel=1e-5)
    assert float(said["loss"]) == pytest.approx(summary["loss"], rel=1e-5)
    rows = scores(Path("scores.csv"))
    assert [int(row["row"]) for row in rows] == list(range(1, 360))
    assert {int(row["class"]) for row in rows} <= set(range(10))
    assert all(0.1 <= float(row["probability"]) <= 1 for row in rows)


def test_new_rows_are_scored_and_unusual_ones_stand_out(hierfl: Run) -> None:
    rng = np.random.default_rng(0)
    Path("t.yaml").write_text(SENSORS)
    common = rng.normal(size=(240, 1))
    rows = 20 + 5 * common + 0.1 * rng.normal(size=(240, 3))
    for name, half in zip(("pi-1", "pi-2"), np.split(rows, 2), strict=True):
        write_csv(Path(f"data/{name}/1.csv"), "light,heat,soil", half)
    result = hierfl("run", "t.yaml", "--out", "run")
    assert result.code == 0, result.err
    assert not {"loss", "mse"} & json.loads(Path("run/summary.json").read_text()).keys()
    new = rows[:50].copy()
    new[7] = [10, 30, 10]
    table = np.column_stack([new[:, [1, 2, 0]], new[:, 0]])
    write_csv(Path("new.csv"), "heat,soil,light,more", table)
    code, out, err = hierfl("evaluate", "run", "--data", "new.csv", "--out", "scores.csv")
    assert code == 0 and out.splitlines()[0].startswith(("mse ", "loss ")), err
    found = [float(row["mse"]) for row in scores(Path("scores.csv"))]
    assert len(found) == 50 and int(np.argmax(found)) == 7
    assert hierfl("evaluate", "run").code == 1  # the cloud has no data, and says so
    code, _, err = hierfl("evaluate", "run", "--data", "absent.csv")
    assert code == 2 and "absent.csv is not there" in err


def test_values_are_predicted_in_their_own_unit_with_and_without_targets(hierfl: Run) -> None:
    rng = np.random.default_rng(0)
    Path("t.yaml").write_text(ENERGY)
    inputs = rng.normal(15, 4, (200, 2))
    used = 300 - 8 * inputs[:, 0] + 2 * inputs[:, 1]
    for name, half in zip(
        ("pi-1", "pi-2"), np.split(np.column_stack([inputs, used]), 2), strict=True
    ):
        write_csv(Path(f"data/{name}/1.csv"), "heat,wind,used", half)
    result = hierfl("run", "t.yaml", "--out", "run")
    assert result.code == 0, result.err
    write_csv(Path("new/1.csv"), "heat,wind", inputs[:20])
    code, out, _ = hierfl("evaluate", "run", "--data", "new", "--out", "scores.csv")
    assert (code, out) == (0, "scores: scores.csv\n")
    said = np.array([float(row["prediction"]) for row in scores(Path("scores.csv"))])
    assert np.abs(said - used[:20]).max() < 5
    code, out, _ = hierfl("evaluate", "run", "--data", "data/pi-1/1.csv")
    figures = dict(line.split() for line in out.splitlines())
    assert float(figures["r2"]) > 0.99 and float(figures["mae"]) < 2


def test_the_model_of_a_run_is_exported(hierfl: Run, tmp_path: Path) -> None:
    Path("t.yaml").write_text(DIGITS)
    assert hierfl("run", "t.yaml", "--out", "run").code == 0
    module = load_model("run").model()
    assert hierfl("export", "run", "--out", "model.pt").code == 0
    state = torch.load("model.pt", weights_only=True)
    assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())
    code, _, err = hierfl("export", "run", "--out", "model.pt")
    assert code == 2 and "is there already" in err
    assert hierfl("export", "run", "--out", "model.h5").code == 2
    assert hierfl("run", "t.yaml", "--set", "start_from=model.pt", "--out", "next").code == 0


def test_onnx_says_what_the_module_says(hierfl: Run) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from onnx.reference import ReferenceEvaluator

    Path("t.yaml").write_text(DIGITS)
    assert hierfl("run", "t.yaml", "--out", "run").code == 0
    result = hierfl("export", "run", "--out", "model.onnx")
    assert result.code == 0, result.err
    inputs = torch.randn(5, 1, 8, 8)
    said = ReferenceEvaluator(onnx.load("model.onnx")).run(None, {"input": inputs.numpy()})[0]
    expected = load_model("run").model()(inputs).detach().numpy()
    assert np.allclose(said, expected, atol=1e-4)


@pytest.mark.parametrize("missing", ["config.yaml", "facts.json", "model.safetensors"])
def test_a_folder_that_holds_no_run_that_has_ended(hierfl: Run, missing: str) -> None:
    Path("t.yaml").write_text(DIGITS)
    assert hierfl("run", "t.yaml", "--set", "algorithm.rounds=1", "--out", "run").code == 0
    Path("run", missing).unlink()
    code, _, err = hierfl("evaluate", "run")
    assert code == 2 and f"run holds no {missing}" in err
