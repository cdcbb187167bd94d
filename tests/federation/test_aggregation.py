"""Scaled signs made one vector: what a few who lie can do, and what all others feel of them."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hierfl.algorithms import BUILT_IN
from hierfl.algorithms.aggregation import LOUDEST, ROBUST, WAYS, Aggregation
from hierfl.algorithms.base import EdgeRound, Settings, Step
from hierfl.algorithms.ef_fedavg import EFFedAvg
from hierfl.algorithms.ef_lion import EFLion
from hierfl.algorithms.ef_signsgd import EFSignSGD
from hierfl.config import load_config
from hierfl.errors import ConfigError, PayloadError
from hierfl.numerics import robust
from hierfl.numerics.layout import Layout
from hierfl.planning.plan import resolve
from tests.federation.toy import LAYOUT, toy

D = LAYOUT.d
WIDE = Layout(("w",), ((40, 50),))
AT = Step(1, "edge", 1, 1, np.float32(0))
SCALED = {"ef-lion": EFLion, "ef-signsgd": EFSignSGD}
matrices = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 20), st.integers(1, 40)),
    elements=st.floats(-(2.0**90), 2.0**90, width=32),
)


@given(matrices)
def test_the_median_is_numpy_s(matrix: np.ndarray) -> None:
    middle = robust.median(matrix.shape[1], lambda block: matrix[:, block].copy())
    expected = np.median(matrix.astype(np.float64), axis=0)
    np.testing.assert_allclose(middle, expected, rtol=1e-6, atol=1e-44)


def test_the_median_of_many_columns_is_made_of_blocks() -> None:
    matrix = np.random.default_rng(0).standard_normal((5, 3 * robust.BLOCK + 17), np.float32)
    widths = []

    def rows(block: slice) -> np.ndarray:
        widths.append(block.stop - block.start)
        return matrix[:, block].copy()

    assert np.array_equal(robust.median(matrix.shape[1], rows), np.median(matrix, axis=0))
    assert widths == [robust.BLOCK] * 3 + [17]


@given(matrices, st.data())
def test_fewer_than_half_do_not_move_a_median_beyond_the_others(
    matrix: np.ndarray, data: st.DataObject
) -> None:
    liars = data.draw(st.integers(0, (len(matrix) - 1) // 2))
    honest = matrix[liars:]
    middle = robust.median(matrix.shape[1], lambda block: matrix[:, block].copy())
    lost = np.float32(2.0**-149)  # what halving the smallest of all float32 may lose, twice
    assert (middle >= honest.min(axis=0) - 2 * lost).all()
    assert (middle <= honest.max(axis=0) + 2 * lost).all()


@given(matrices, st.data())
def test_fewer_than_half_do_not_move_the_mixed_median_far(
    matrix: np.ndarray, data: st.DataObject
) -> None:
    liars = data.draw(st.integers(0, (len(matrix) - 1) // 2))
    honest = matrix[liars:].astype(np.float64)
    mixed = robust.nearest(matrix.shape[1], lambda block: matrix[:, block].copy())
    apart = max(np.linalg.norm(a - b) for a in honest for b in honest)
    rounding = 1e-5 * np.abs(honest).max() + 1e-44
    assert np.abs(mixed - honest.mean(axis=0)).max() <= 2 * apart + rounding


def test_what_one_device_alone_knows_is_lost_to_a_median_and_not_to_a_mixed_one() -> None:
    matrix = np.eye(5, dtype=np.float32)
    assert not robust.median(5, lambda block: matrix[:, block].copy()).any()
    assert robust.nearest(5, lambda block: matrix[:, block].copy()).any()


def test_what_is_mixed_does_not_depend_on_threads() -> None:
    """A library for matrices rounds differently with each number of them."""
    program = """
import hashlib, numpy as np
from hierfl.numerics import robust
matrix = np.random.default_rng(1).standard_normal((33, 50_000), np.float32)
mixed = robust.nearest(50_000, lambda block: matrix[:, block].copy())
print(hashlib.sha256(mixed).hexdigest())
"""
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads},
            check=True,
            capture_output=True,
            timeout=60,
        ).stdout
        for threads in "12"
    }
    assert len(hashes) == 1


def cast(algorithm: EFLion | EFSignSGD, gradients: list[np.ndarray]) -> EdgeRound:
    """Return a round in which devices have cast the ballots of their first gradients."""
    round_ = algorithm.edge_round(algorithm.edge_state(), [1] * len(gradients))
    for device, gradient in enumerate(gradients):
        ballot = algorithm.ballot(algorithm.device_state(), gradient, AT)
        round_.add(device, ballot)
    return round_


def outcome(name: str, way: str, gradients: list[np.ndarray]) -> np.ndarray:
    """Return what a cluster's first step makes of some gradients, before a codec cuts it down."""
    algorithm = SCALED[name](LAYOUT, Settings(steps=1, options={"aggregation": way}))
    round_ = cast(algorithm, gradients)
    if isinstance(algorithm, EFSignSGD):
        return round_._signs.take(AT)  # type: ignore[attr-defined,no-any-return]
    round_.decide(AT)
    return round_._sum  # type: ignore[attr-defined,no-any-return]


def flat(*sizes: float) -> list[np.ndarray]:
    return [np.full(D, size, np.float32) for size in sizes]


@pytest.mark.parametrize("name", SCALED)
def test_who_inflates_its_scales_is_cut_by_clip_and_outvoted_by_medians(name: str) -> None:
    one = 2.0**-8  # a scale that ef-lion's logarithms hold exactly
    ways = {"mean": -252 / 5, "clip": (4 - LOUDEST) / 5, "median": 1.0, "nearest": 1.0}
    for way, expected in ways.items():
        made = outcome(name, way, flat(one, one, one, one, -256 * one))
        np.testing.assert_allclose(made, expected * one, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("way", WAYS)
def test_where_all_say_the_same_every_way_does(name: str, way: str) -> None:
    gradient = np.random.default_rng(0).standard_normal(D, np.float32)
    alone = outcome(name, "mean", [gradient])
    np.testing.assert_allclose(outcome(name, way, [gradient] * 5), alone, rtol=1e-6)


def test_a_cluster_with_unequal_samples_is_weighted_in_a_mean_and_not_in_a_median() -> None:
    for way, expected in (("mean", 4.0), ("clip", 4.0), ("median", 2.0)):
        algorithm = EFSignSGD(LAYOUT, Settings(options={"aggregation": way}))
        round_ = algorithm.edge_round(algorithm.edge_state(), [1, 1, 6])
        for device, gradient in enumerate(flat(2.0, 0.0, 5.0)):
            round_.add(device, algorithm.ballot(algorithm.device_state(), gradient, AT))
        np.testing.assert_allclose(round_._signs.take(AT), expected, rtol=1e-6)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("way", WAYS)
def test_all_learn_where_nobody_lies(name: str, way: str) -> None:
    sets = [f"algorithm.name={name}", f"algorithm.options.aggregation={way}"]
    lr = {"ef-lion": 0.05, "ef-signsgd": 0.3}[name]
    federation = toy([*sets, "algorithm.rounds=10", "algorithm.edge_steps=3", f"algorithm.lr={lr}"])
    start = np.abs(federation.strategy.base - 0.5).mean()
    federation.run()
    assert np.abs(federation.strategy.base - 0.5).mean() < 0.4 * start


@pytest.mark.parametrize("name", [*SCALED, "ef-fedavg"])
def test_with_trust_who_says_the_opposite_is_left_out(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Two of five whose data are like the others': told apart by what they say over steps."""
    draw = np.random.default_rng(0)
    kind = {**SCALED, "ef-fedavg": EFFedAvg}[name]
    algorithm = kind(WIDE, Settings(steps=4, options={"aggregation": "trust"}))
    devices = [algorithm.device_state() for _ in range(5)]
    edge, common = algorithm.edge_state(), draw.standard_normal(WIDE.d).astype(np.float32)
    for t in range(1, 7):
        round_ = algorithm.edge_round(edge, [10] * 5)
        for s in range(1, 5):
            at = Step(1, "edge", t, s, np.float32(0.1))
            for k, state in enumerate(devices):
                gradient = common + 2 * draw.standard_normal(WIDE.d, np.float32)
                round_.add(k, algorithm.ballot(state, -gradient if k < 2 else gradient, at))
            round_.decide(at)
        round_.report(at)
        algorithm.observe(edge, common + draw.standard_normal(WIDE.d, np.float32))
    assert list(np.flatnonzero(edge["opposed"])) == [0, 1]
    assert len(caplog.messages) == 2
    assert "device 2 of 5 is opposed to most others" in "".join(caplog.messages)
    if name == "ef-signsgd":
        last = algorithm.edge_round(edge, [10] * 5)
        sent = [draw.standard_normal(WIDE.d, np.float32) for _ in devices]
        for k, vector in enumerate(sent):
            last.add(k, algorithm.codec.encode(vector))
        mean = np.mean([algorithm.codec.decode(algorithm.codec.encode(v)) for v in sent[2:]], 0)
        np.testing.assert_allclose(last._signs.take(AT), mean, rtol=1e-5)


def test_trust_begins_anew_with_another_cluster_and_knows_nothing_before_a_change() -> None:
    aggregation = Aggregation("trust")
    state = aggregation.edge_state()
    vectors = {k: row.__getitem__ for k, row in enumerate(np.eye(3, D, dtype=np.float32) - 0.5)}
    assert aggregation.trusted(state, 3, D, vectors, AT) == [0, 1, 2]
    assert state["products"].shape == (0, 0)
    aggregation.observe(state, np.ones(D, np.float32))
    for cluster in (3, 4):
        aggregation.trusted(state, cluster, D, vectors, AT)
        assert state["products"].shape == state["squares"].shape == (cluster, cluster)
        assert state["opposed"].shape == (cluster,)


@pytest.mark.parametrize("name", SCALED)
def test_scales_that_no_honest_device_has_are_refused(name: str) -> None:
    algorithm = SCALED[name](LAYOUT, Settings(options={"aggregation": "mean"}))
    with pytest.raises(PayloadError, match="scales beyond"):
        cast(algorithm, flat(1e30))


def test_another_way_is_none() -> None:
    sets = ["algorithm.name=ef-lion", "algorithm.options.aggregation=medain"]
    with pytest.raises(ConfigError, match="nearest or mean, not 'medain'") as caught:
        resolve(load_config(None, sets))
    assert caught.value.path == "algorithm.options.aggregation"
    assert caught.value.hint == "Did you mean median?"
    with pytest.raises(ConfigError, match="should be"):
        Aggregation("loud")
    assert set(SCALED) < set(BUILT_IN)


@pytest.mark.parametrize("way", ROBUST)
def test_a_median_of_sparse_ballots_is_refused(way: str) -> None:
    with pytest.raises(ConfigError, match="say nothing about a coordinate"):
        EFSignSGD(LAYOUT, Settings(options={"aggregation": way, "fraction": 0.1}))
