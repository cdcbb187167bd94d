"""Codecs on the way up and down: what goes with what, what it costs, and that nothing is lost."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from hierfl.algorithms import BUILT_IN
from hierfl.algorithms.base import Settings, Step
from hierfl.codecs import CODECS, encode, make_codec
from hierfl.config import load_config
from hierfl.errors import ConfigError
from hierfl.planning.forecast import forecast
from hierfl.planning.plan import resolve
from tests.federation.test_recovery import run
from tests.federation.toy import LAYOUT, toy

FREE = ("hier-sgd", "hier-fedavg", "ef-signsgd")
"""The algorithms whose reports any codec makes."""
SMALL = ["algorithm.rounds=2", "algorithm.edge_steps=3"]


@pytest.mark.parametrize("codec", CODECS)
def test_any_codec_goes_both_ways(codec: str) -> None:
    both = [f"uplink.codec={codec}", f"downlink.codec={codec}"]
    for name in FREE:
        federation = toy([*SMALL, f"algorithm.name={name}", *both])
        federation.run()
        edges, planned = (
            federation.grid.ledger.traffic(),
            forecast(federation.config, federation.plan),
        )
        assert edges.up.payload == planned.payload()["edge_up"]
        assert edges.down.payload == planned.payload()["edge_down"]
        final = federation.strategy.base.tobytes()
        assert {device.replica.base.tobytes() for device in federation.devices.values()} == {final}


@pytest.mark.parametrize("codec", [name for name in CODECS if name != "float32"])
@pytest.mark.parametrize("name", FREE)
def test_reports_and_what_was_not_reported_are_all_that_was_decided(name: str, codec: str) -> None:
    uplink = make_codec(codec, LAYOUT)
    algorithm = BUILT_IN[name](LAYOUT, Settings(steps=4, uplink=uplink))
    device, edge, draw = algorithm.device_state(), algorithm.edge_state(), np.random.default_rng(0)
    weights, reported = np.zeros(LAYOUT.d, np.float32), np.zeros(LAYOUT.d)
    one = np.float32(1)
    for t in range(1, 6):
        round_ = algorithm.edge_round(edge, [10])
        for s in range(1, 5):
            at = Step(1, "edge", t, s, one)
            gradient = draw.standard_normal(LAYOUT.d, np.float32)
            round_.add(0, algorithm.ballot(device, gradient, at))
            algorithm.apply(weights, round_.decide(at), at)
        reported += uplink.decode(round_.report(at))
        assert edge["unreported"].any()
        np.testing.assert_allclose(reported + edge["unreported"], -weights, atol=1e-4)


def test_a_coarse_way_up_leads_to_the_same_optimum() -> None:
    sets = ["algorithm.name=hier-sgd", "algorithm.rounds=16", "algorithm.lr=0.2"]
    federation = toy([*sets, "uplink.codec=ternary"])
    federation.run()
    assert np.abs(federation.strategy.base - 0.5).mean() < 0.15


@pytest.mark.parametrize("codec", ["sign", "random-k"])
def test_crashes_change_no_bit(codec: str) -> None:
    bases = set()
    for crashes in ({}, {"east": {4: "after", 8: "before"}, "west-0": {12: "before"}}):
        with TemporaryDirectory() as folder:
            sets = ["algorithm.name=hier-sgd", f"uplink.codec={codec}", f"downlink.codec={codec}"]
            bases.add(run(crashes, False, sets, Path(folder))[0])
    assert len(bases) == 1


@pytest.mark.parametrize(
    ("sets", "path", "why"),
    [
        (["algorithm.name=hier-signsgd", "uplink.codec=sign"], "uplink.codec", "counts of votes"),
        (["algorithm.name=ef-lion", "uplink.codec=float32"], "uplink.codec", "counts of votes"),
        (["algorithm.name=hier-sgd", "uplink.codec=tally"], "uplink.codec", "sends no counts"),
        (["algorithm.name=hier-qsgd", "uplink.codec=sign"], "uplink.codec", "residual, .* biased"),
        (["algorithm.name=hier-sgd", "uplink.codec=sing"], "uplink.codec", "no such codec"),
        (["uplink.bits=4"], "uplink.bits", "a tally has no such parameter"),
        (
            ["algorithm.name=ef-signsgd", "uplink.codec=qsgd", "uplink.bits=2"],
            "uplink.bits", "would grow",
        ),
        (["downlink.codec=qsgd", "downlink.bits=2"], "downlink.bits", "would grow"),
        (["downlink.codec=ternary", "downlink.fraction=0.1"], "downlink.fraction", "random-k, not"),
        (["downlink.codec=random-k", "downlink.bits=4"], "downlink.bits", "rounding, not to"),
        (["algorithm.name=hier-sgd", "uplink.fraction=0.1"], "uplink.fraction", "no such para"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_the_reason(
    sets: list[str], path: str, why: str
) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        resolve(load_config(None, sets))
    assert caught.value.path == path


def test_hier_qsgd_s_bits_are_those_of_its_reports_unless_the_uplink_says_otherwise() -> None:
    sets = ["algorithm.name=hier-qsgd", "algorithm.options.bits=8"]
    for more, size in (([], 4 + 8 * 6), (["uplink.bits=3"], 4 + 3 * 6),
                       (["uplink.codec=float32"], 4 * 41)):  # fmt: skip
        federation = toy([*SMALL, *sets, *more])
        federation.run()
        assert federation.grid.ledger.traffic().up.payload == 2 * 2 * size


def test_two_bits_of_qsgd_are_refused_because_the_residual_grows() -> None:
    for bits, most in ((2, np.inf), (3, 1.0)):
        codec, draw = make_codec("qsgd", LAYOUT, bits=bits), np.random.default_rng(0)
        residual = np.zeros(LAYOUT.d, np.float32)
        for _ in range(300):
            residual += draw.standard_normal(LAYOUT.d, np.float32)
            residual -= codec.decode(encode(codec, residual, draw))
        size = float(np.sqrt(np.mean(residual**2)))
        assert size < most
        assert codec.contracts == (bits > 2)
    assert bits == 3
