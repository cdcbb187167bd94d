"""What a federation of any size takes, against figures made by hand."""

from __future__ import annotations

import io
import math
import re

import pytest

from hierfl.config import load_config
from hierfl.config.schema import Config
from hierfl.errors import ConfigError
from hierfl.numerics.layout import Layout
from hierfl.planning.cost import (
    Constants,
    Line,
    Prices,
    Question,
    Wire,
    best_edges,
    cost,
)
from hierfl.planning.cost_asked import asked, read_prices, read_wire
from hierfl.planning.cost_table import show
from hierfl.planning.forecast import forecast
from hierfl.planning.plan import Plan, make_plan, resolve

D = 8000
MEASURED = Constants(
    ballot=Line(1e-3, 1e-6),  # 9 ms
    decision=Line(0.1, 0.0),
    base=Line(2e-3, 0.0),
    edge_round=Line(0.2, 0.0),
    report=Line(0.0, 5e-6),  # 40 ms
    cloud_round=Line(0.3, 0.0),
    device_memory=Line(1000.0, 0.5),
    node_memory=Line(1e6, 8.0),
)


def planned(*sets: str) -> tuple[Config, Plan]:
    config = resolve(load_config(None, ["algorithm.edge_steps=4", "algorithm.rounds=5", *sets]))
    return config, make_plan(config, Layout(("w",), ((D,),)), 0)


def test_a_round_is_the_sum_of_its_parts() -> None:
    config, plan = planned()
    device, edge = Wire(up=1e5, down=1e6, rtt=0.05), Wire(up=1e6, down=1e6, rtt=0.01)
    question = Question(10, 2, device, edge, gradient=0.02, prices=Prices(core=36.0, gb=1e6))
    found = cost(config, plan, question, MEASURED)
    sizes = plan.sizes
    assert (sizes.ballot, sizes.decision) == (1000, 1000)
    step = 0.05 + 8 * 1000 / 1e5 + 8 * 1000 / 1e6
    assert found.parts["gradients"] == pytest.approx(4 * 0.02)
    assert found.parts["device links"] == pytest.approx(4 * step + 0.05 + 8 * sizes.downlink / 1e6)
    assert found.parts["edges' processors"] == pytest.approx(
        4 * (0.1 + 5 * 0.009) + 0.2 + 5 * 0.002
    )
    assert found.parts["edge links"] == pytest.approx(
        0.01 + 8 * (sizes.report + sizes.downlink) / 1e6
    )
    assert found.parts["the cloud's processor"] == pytest.approx(0.3 + 2 * 0.04)
    assert found.round_s == pytest.approx(sum(found.parts.values()))
    assert found.bottleneck == "edges' processors"
    devices, edges, cloud = found.tiers
    assert edges.memory == pytest.approx(1e6 + 8 * D + 5 * (1000 + D / 2))
    hours = 5 * found.round_s / 3600
    sent = forecast(config, plan, clusters=[5, 5]).payload()
    out = (sent["device_down"] + sent["edge_up"]) / 1e9
    assert edges.money == pytest.approx(2 * hours * 36 + out * 1e6)
    assert cloud.money == pytest.approx(hours * 36 + sent["edge_down"] / 1e9 * 1e6)
    assert devices.money == 0


def test_bytes_are_those_of_the_forecast() -> None:
    config, plan = planned("edges.0.devices=7", "edges.1.devices=7", "algorithm.participation=0.5")
    found = cost(config, plan, Question(14, 2), MEASURED)
    sent = forecast(config, plan).payload()
    assert found.payload == sum(sent.values())
    device, edge, _ = found.tiers
    assert device.up * 14 * 5 == pytest.approx(sent["device_up"])
    assert edge.down * 2 * 5 == pytest.approx(sent["edge_down"])


@pytest.mark.parametrize("devices", [1, 2, 57, 10_000, 1_000_000])
def test_no_other_number_of_edges_makes_a_round_shorter(devices: int) -> None:
    config, plan = planned()
    best = best_edges(config, D, devices, MEASURED)
    assert 1 <= best <= devices

    def round_s(edges: int) -> float:  # as if devices could be divided
        each = devices / edges * (4 * 0.009 + 0.002)
        return each + edges * 0.04

    near = {min(devices, max(1, best + by)) for by in (-1, 0, 1)}
    assert min(near, key=round_s) == best
    assert cost(config, plan, Question(devices), MEASURED).tiers[1].nodes == best


def test_a_link_without_limits_takes_no_time() -> None:
    assert Wire().seconds(1e12, 1e12) == 0
    assert read_wire("rtt=40ms", "--link") == Wire(math.inf, math.inf, 0.04)
    assert read_wire("up=1mbit, down=2mbit", "--link") == Wire(1e6, 2e6)


@pytest.mark.parametrize("text", ["", "up", "up=1", "up=1mbit,up=2mbit", "speed=1mbit", "rtt=5"])
def test_what_is_no_link_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--link"):
        read_wire(text, "--link")


@pytest.mark.parametrize("text", ["core=-1", "core=x", "gb=nan", "core=inf", "cpu=1"])
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--price"):
        read_prices(text, "--price")


def test_options_become_a_question() -> None:
    config, _ = planned()
    assert asked(config, None, None, None, None, "0ms", None) == Question(6, 2)
    assert asked(config, 100, None, "rtt=1ms", None, "20ms", "gb=1") == Question(
        100, None, Wire(rtt=0.001), Wire(), 0.02, Prices(0.0, 1.0)
    )
    with pytest.raises(ConfigError, match="3 edges for 2 devices"):
        asked(config, 2, 3, None, None, "0ms", None)
    with pytest.raises(ConfigError, match="--gradient"):
        asked(config, 2, 1, None, None, "20", None)


def test_the_table_names_the_bottleneck() -> None:
    config, _ = planned("model=mlp", "data.dataset=digits")
    file = io.StringIO()
    show(config, Question(1000, 10, Wire(up=1000.0), prices=Prices(1.0, 1.0)), file)
    text = file.getvalue()
    assert re.search(r"device links .*the bottleneck", text)
    assert "1,000 devices on 10 edges" in text and "money" in text
