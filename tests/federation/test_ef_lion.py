"""EF-Lion's theorems, on problems whose answer is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hierfl.algorithms.base import Settings, Step, WeightedReport
from hierfl.algorithms.ef_lion import EFLion
from hierfl.codecs.scales import Scales, from_codes, to_codes
from hierfl.numerics import signs
from tests.federation.toy import LAYOUT, toy

OPPOSED = {f"east-{i}": 1.0 for i in range(3)} | {f"west-{i}": -1.0 for i in range(3)}


def distance(algorithm: str, lr: float, rounds: int = 150, sets: Sequence[str] = ()) -> float:
    """How far from the global optimum, 0, a federation of two opposed clusters ends."""
    federation = toy(
        [f"algorithm.name={algorithm}", f"algorithm.lr={lr}", f"algorithm.rounds={rounds}",
         "downlink.codec=float32", *sets],
        targets=OPPOSED,
    )  # fmt: skip
    federation.run()
    return float(np.abs(federation.strategy.base).mean())


def test_opposed_clusters_settle_at_the_global_optimum_which_plain_voting_misses() -> None:
    start = np.abs(np.linspace(-1, 1, LAYOUT.d)).mean()
    assert distance("hier-signsgd", 0.01) > 0.5 * start
    assert distance("ef-lion", 0.01) < 0.15 * start
    coarse = distance("ef-lion", 0.01, sets=["algorithm.options.correction_bits=1"])
    assert coarse < 0.15 * start
    assert distance("ef-lion", 0.01, sets=["algorithm.participation=0.5"]) < 0.15 * start


@given(st.integers(0, 2**32), st.sampled_from([1, 4, 8]))
def test_identical_clusters_have_no_corrections(seed: int, bits: int) -> None:
    algorithm = EFLion(LAYOUT, Settings(steps=3, options={"correction_bits": bits}))
    cloud, draw = algorithm.cloud_state(), np.random.default_rng(seed)
    edges = [algorithm.edge_state(), algorithm.edge_state()]
    device, heard = algorithm.device_state(), 0.0
    for round_ in range(1, 5):
        ballots = []
        for step in range(1, 4):
            at = Step(1, "device", round_, step, np.float32(0.01))
            ballots.append(algorithm.ballot(device, draw.standard_normal(LAYOUT.d, "f"), at))
        reports = []
        for state in edges:
            round_at_edge = algorithm.edge_round(state, [1])
            for step, ballot in enumerate(ballots, 1):
                round_at_edge.add(0, ballot)
                at = Step(1, "edge", round_, step, np.float32(0.01))
                round_at_edge.decide(at)
            reports.append(WeightedReport(0.5, round_at_edge.report(at)))
        change = algorithm.change(cloud, reports, Step(1, "cloud", round_, 0, np.float32(0.01)))
        for state in edges:
            algorithm.receive(state, change.edges)
            heard += np.abs(state["own"]).sum()
            np.testing.assert_allclose(state["common"], state["own"], atol=1e-5)
    assert heard > 0


def test_the_residual_and_what_was_sent_are_what_was_meant() -> None:
    algorithm = EFLion(LAYOUT, Settings(steps=5))
    state, scales = algorithm.device_state(), algorithm.scales
    draw = np.random.default_rng(0)
    meant, sent = np.zeros(LAYOUT.d), np.zeros(LAYOUT.d)
    scale = np.zeros(LAYOUT.d)
    for round_ in (1, 2):
        for step in range(1, 6):
            gradient = draw.standard_normal(LAYOUT.d, np.float32)
            at = Step(1, "device", round_, step, np.float32(0), weight=1.5)
            ballot = algorithm.ballot(state, gradient, at)
            meant += 1.5 * gradient
            head = scales.size if step == 1 else 0
            assert len(ballot) == head + signs.packed_size(LAYOUT.d)
            if head:
                scale = scales.decode(ballot[:head])
            sent += scale * signs.unpack(ballot[head:], LAYOUT.d)
            np.testing.assert_allclose(sent + state["residual"], meant, atol=1e-4)


def test_a_device_that_inflates_its_scales_is_clipped() -> None:
    algorithm = EFLion(LAYOUT, Settings(steps=1))
    round_ = algorithm.edge_round(algorithm.edge_state(), [1, 1, 1])
    for device, size in enumerate((0.01, 0.01, 3.0)):
        magnitudes = np.full(LAYOUT.d, size, np.float32)
        bits = signs.pack(np.where(device == 2, -magnitudes, magnitudes)).tobytes()
        round_.add(device, algorithm.scales.encode(magnitudes) + bits)
    at = Step(1, "edge", 1, 1, np.float32(0))
    assert signs.unpack(round_.decide(at), LAYOUT.d).max() == -1  # 1 + 1 - 4 < 0
    np.testing.assert_allclose(round_._sum, 0.01 * (1 + 1 - 4) / 3, rtol=0.2)  # type: ignore[attr-defined]


@given(hnp.arrays(np.float32, 7, elements=st.floats(2.0**-29, 2.0, width=32)))
def test_eight_bit_logarithms_are_within_half_a_step(x: np.ndarray) -> None:
    error = np.abs(np.log2(from_codes(to_codes(x))) - np.log2(x))
    assert error.max() <= 1 / 16 + 1e-5


@given(hnp.arrays(np.float32, LAYOUT.d, elements=st.floats(0, 2.0, width=32)))
def test_scales_are_finite_and_keep_row_means(x: np.ndarray) -> None:
    scales = Scales(LAYOUT)
    payload = scales.encode(x)
    assert len(payload) == scales.size == (5 + 7) + 4
    decoded = scales.decode(payload)
    assert np.isfinite(decoded).all() and (decoded >= 0).all()
    rows = x[:35].reshape(5, 7).mean(axis=1)
    kept = decoded[:35].reshape(5, 7).mean(axis=1)
    seen = rows > 2.0**-29
    np.testing.assert_allclose(kept[seen], rows[seen], rtol=0.05)


def test_a_device_whose_first_ballot_came_too_late_has_the_median_s_scales() -> None:
    algorithm = EFLion(LAYOUT, Settings(steps=2))
    round_ = algorithm.edge_round(algorithm.edge_state(), [1, 1, 1])
    bits = signs.pack(np.ones(LAYOUT.d, np.float32)).tobytes()
    for device in (0, 1):
        round_.add(device, algorithm.scales.encode(np.full(LAYOUT.d, 0.01, np.float32)) + bits)
    round_.decide(Step(1, "edge", 1, 1, np.float32(0)))
    round_.add(2, bits)
    round_.decide(Step(1, "edge", 1, 2, np.float32(0)))
    np.testing.assert_allclose(round_._sum, 2 * 0.01, rtol=0.1)  # type: ignore[attr-defined]
