from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from cloud.views.base import View
from deploy.launcher.in_process import run_memory
from hierfl.config import load_config
from hierfl.numerics.layout import Layout
from hierfl.planning.describe import model_of
from hierfl.planning.forecast import LINKS, Forecast, forecast
from hierfl.planning.plan import make_plan, resolve

NORMED = """
from torch import nn

def build(classes):
    head = nn.Linear(12, classes)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12), head)
"""

SMALL = ["data.dataset=digits", "algorithm.rounds=3", "algorithm.edge_steps=4"]
UNEVEN = "edges=[{name: a, devices: 3}, {name: b, devices: 1}]"


def planned(*sets: str) -> Forecast:
    config = resolve(load_config(None, [*SMALL, *sets]))
    model = model_of(config)
    return forecast(config, make_plan(config, model.layout, model.buffer_layout.d))


def sent(out: Path, *sets: str) -> dict[str, int]:
    config = resolve(load_config(None, [*SMALL, *sets]))
    run_memory(config, out, View())
    counts: dict[str, int] = json.loads((out / "summary.json").read_text())["bytes"]
    return counts


@pytest.mark.parametrize("algorithm", ["hier-signsgd", "hier-sgd"])
@pytest.mark.parametrize("model", ["cnn", "mlp"])
def test_a_run_sends_exactly_what_was_planned(tmp_path: Path, algorithm: str, model: str) -> None:
    sets = [f"algorithm.name={algorithm}", f"model={model}"]
    assert sent(tmp_path, *sets) == planned(*sets).payload()


@pytest.mark.parametrize(
    "sets",
    [
        ["algorithm.edge_steps=1"],
        ["algorithm.rounds=1", UNEVEN],
        ["downlink.codec=qsgd", "downlink.bits=4", "edges=[{name: a, devices: 2}]"],
        ["downlink.codec=topk", "downlink.fraction=0.05", UNEVEN],
    ],
)
def test_so_it_does_in_other_shapes(tmp_path: Path, sets: list[str]) -> None:
    assert sent(tmp_path, "model=mlp", *sets) == planned("model=mlp", *sets).payload()


@pytest.mark.parametrize("algorithm", ["hier-signsgd", "hier-sgd"])
def test_buffers_are_planned_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    (tmp_path / "normed_net.py").write_text(NORMED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "normed_net", raising=False)  # of the other algorithm
    sets = ["model=normed_net:build", f"algorithm.name={algorithm}", UNEVEN]
    expected = planned(*sets)
    assert any(item.what == "buffers" for item in expected.items)
    assert sent(tmp_path, *sets) == expected.payload()


def test_full_precision_is_what_float32_would_be() -> None:
    full = planned("algorithm.name=hier-sgd", "model=mlp")
    assert full.payload() == full.float32()
    assert planned("model=mlp").float32() == full.payload()


def test_float32_in_proportion_to_who_took_part() -> None:
    config = resolve(load_config(None, ["algorithm.rounds=2"]))
    expected = forecast(config, make_plan(config, Layout(("w",), ((800,),)), 0))
    whole = expected.payload()
    assert expected.float32_of(whole) == expected.float32()
    half = {**whole, "device_up": whole["device_up"] // 2}
    least = expected.float32_of(half)
    assert least["device_up"] * 2 == expected.float32()["device_up"]
    assert least["device_down"] * 2 == expected.float32()["device_down"]
    assert least["edge_up"] == expected.float32()["edge_up"]
    twice = {link: 2 * whole[link] for link in LINKS}
    assert expected.float32_of(twice) == expected.float32()
