"""What holds for every algorithm, and the theorems of those that have no file of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from hierfl.algorithms import BUILT_IN
from hierfl.algorithms.base import Settings, Step
from hierfl.algorithms.ef_signsgd import EFSignSGD
from hierfl.algorithms.hier_qsgd import HierQSGD
from hierfl.algorithms.sparse_signsgd import SparseSignSGD
from hierfl.algorithms.tally_corrected import GAIN, TallyCorrected
from hierfl.errors import ConfigError, PayloadError
from hierfl.numerics import sparse
from hierfl.numerics.rng import generator
from hierfl.planning.forecast import forecast
from tests.federation.reference import signs
from tests.federation.test_ef_lion import distance
from tests.federation.test_recovery import run
from tests.federation.toy import LAYOUT, Toy, toy

D = LAYOUT.d
TARGETS = {f"{edge}-{i}": 0.3 * i - 0.2 for edge in ("east", "west") for i in range(3)}
EXAMPLES = {name: 10 + 7 * i for i, name in enumerate(TARGETS)}


def at(step: int = 1, lr: float = 0.01) -> Step:
    return Step(1, "node", 1, step, np.float32(lr))


def gradients(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, D), np.float32)


def trained(*sets: str, **kwargs: Mapping[str, float]) -> Toy:
    federation = toy(sets, **kwargs)  # type: ignore[arg-type]
    federation.run()
    return federation


# -- all -----------------------------------------------------------------------------------------

ESTIMATED = {"sparse-signsgd", "distributed-lion-mean", "z-signfedavg", "sparseloco"}
"""The lengths of their decisions depend on what devices say, or on how many there are."""


@pytest.mark.parametrize("name", BUILT_IN)
def test_it_sends_what_is_planned_and_all_hold_the_same_bits(name: str) -> None:
    federation = toy([f"algorithm.name={name}"], targets=TARGETS, examples=EXAMPLES)
    devices, _ = federation.run()
    edges = federation.grid.ledger.traffic()
    planned = forecast(federation.config, federation.plan).payload()
    assert devices.up.payload == planned["device_up"] or name == "ef-lion"  # and its scales
    assert edges.up.payload == planned["edge_up"]
    assert edges.down.payload == planned["edge_down"] or name == "ef-lion"  # for edges alone
    assert devices.down.payload == planned["device_down"] or name in ESTIMATED
    final = federation.strategy.base.tobytes()
    assert {device.replica.base.tobytes() for device in federation.devices.values()} == {final}


@pytest.mark.parametrize("name", BUILT_IN)
def test_crashes_change_no_bit(name: str) -> None:
    sets, bases = [f"algorithm.name={name}"], set()
    for machine, crashes in (
        (False, {}),
        (False, {"east-0": {7: "after", 9: "before"}, "east": {4: "after"}, "west": {3: "before"}}),
        (True, {"west-0": {4: "after", 12: "before"}, "east-1": {6: "before"}}),
    ):
        with TemporaryDirectory() as folder:
            bases.add(run(crashes, machine, sets, Path(folder))[0])
    assert len(bases) == 1


# -- ef-signsgd ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [1.0, 0.1])
def test_ef_signsgd_leaves_nothing_out_for_good(fraction: float) -> None:
    algorithm = EFSignSGD(LAYOUT, Settings(options={"fraction": fraction}))
    device, edge = algorithm.device_state(), algorithm.edge_state()
    meant, sent, decided, reported = (np.zeros(D) for _ in range(4))
    decode = algorithm.codec.decode
    for _ in range(3):
        round_ = algorithm.edge_round(edge, [10])
        for gradient in gradients(4):
            ballot = algorithm.ballot(device, gradient, at())
            round_.add(0, ballot)
            decision = round_.decide(at())
            meant, sent = meant + gradient, sent + algorithm.ballots.decode(ballot)
            decided += decode(decision)
        reported += algorithm.reports.decode(round_.report(at()))
    assert np.count_nonzero(algorithm.ballots.decode(ballot)) == math.ceil(fraction * D)
    assert len(ballot) == algorithm.sizes().ballot
    np.testing.assert_allclose(sent + device["residual"], meant, atol=1e-4)
    np.testing.assert_allclose(decided + edge["residual"], sent, atol=1e-4)
    np.testing.assert_allclose(reported + edge["unreported"], decided, atol=1e-4)


# -- tally-corrected -----------------------------------------------------------------------------


def test_tally_corrected_settles_at_the_optimum_of_opposed_clusters() -> None:
    start = np.abs(np.linspace(-1, 1, D)).mean()
    assert distance("tally-corrected", 0.02, rounds=60) < 0.35 * start


def test_a_device_s_correction_is_what_its_cluster_differs_by() -> None:
    federation = trained(
        "algorithm.name=tally-corrected", "algorithm.rounds=1", "algorithm.momentum=0",
        "algorithm.lr=0.01", "downlink.codec=float32",
        **{"targets": {name: 9.0 if name.startswith("east") else -9.0 for name in TARGETS}},
    )  # fmt: skip
    # East votes - at every coordinate and step, west +; the mean is 0.
    for name, device in federation.devices.items():
        expected = GAIN if name.startswith("east") else -GAIN
        np.testing.assert_allclose(device.replica.state["correction"], expected, rtol=1e-3)
    federation = trained(
        "algorithm.name=tally-corrected", "algorithm.rounds=1", "downlink.codec=float32",
        **{"targets": dict.fromkeys(TARGETS, 9.0)},
    )  # fmt: skip
    for device in federation.devices.values():
        np.testing.assert_allclose(device.replica.state["correction"], 0, atol=1e-3)


def test_tally_corrected_sends_no_byte_more() -> None:
    downlink = "downlink.codec=qsgd"
    plain, corrected = toy([downlink]), toy([downlink, "algorithm.name=tally-corrected"])
    assert plain.run()[0].up.payload == corrected.run()[0].up.payload
    assert plain.grid.ledger.traffic() == corrected.grid.ledger.traffic()
    with pytest.raises(ConfigError, match="edge_steps: should be 2 at least"):
        TallyCorrected(LAYOUT, Settings(steps=1))


# -- hier-qsgd -----------------------------------------------------------------------------------


def test_hier_qsgd_rounds_as_its_bits_say() -> None:
    """Each hop moves a coordinate by less than a level of its largest magnitude."""
    sets = ["algorithm.rounds=1", "algorithm.lr=0.1", "downlink.codec=float32"]
    exact = trained(*sets, "algorithm.name=hier-sgd", targets=TARGETS).strategy.base
    for bits in (4, 8):
        chosen = ["algorithm.name=hier-qsgd", f"algorithm.options.bits={bits}"]
        error = np.abs(trained(*sets, *chosen, targets=TARGETS).strategy.base - exact)
        assert 0 < error.max() < 0.1 * 4 * 3 * 2 / (2 ** (bits - 1) - 1)


# -- hier-fedavg ---------------------------------------------------------------------------------


def test_hier_fedavg_with_one_local_step_is_hier_sgd() -> None:
    sets = ["algorithm.lr=0.1"]
    one = ["algorithm.name=hier-fedavg", "algorithm.options.local_steps=1"]
    a = trained(*sets, *one, targets=TARGETS, examples=EXAMPLES).strategy.base
    b = trained(*sets, "algorithm.name=hier-sgd", targets=TARGETS, examples=EXAMPLES).strategy.base
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_hier_fedavg_averages_models_after_local_steps() -> None:
    federation = toy(
        ["algorithm.name=hier-fedavg", "algorithm.options.local_steps=3", "algorithm.momentum=0",
         "algorithm.rounds=1", "algorithm.edge_steps=2", "algorithm.lr=0.1"],
        targets=TARGETS,
    )  # fmt: skip
    base = federation.strategy.base.astype(np.float64)
    federation.run()
    models = []
    for members in federation.config.tree().values():
        w = base.copy()
        for s in (1, 2):
            ends = []
            for name in members:
                draw, end = generator(federation.config.seed, name, 1, s, "minibatch"), w.copy()
                for _ in range(3):
                    end -= 0.1 * (end - TARGETS[name] + draw.standard_normal(D, np.float32))
                ends.append(end)
            w = np.mean(ends, axis=0)
        models.append(w)
    np.testing.assert_allclose(federation.strategy.base, np.mean(models, axis=0), atol=1e-5)


def test_an_abstention_in_a_local_step_leaves_no_trace() -> None:
    federation = toy(["algorithm.name=hier-fedavg", "algorithm.rounds=1", "algorithm.edge_steps=1"])
    federation.trainers["east-1"].poison = {3}
    base = federation.strategy.base.copy()
    _, faults = federation.run()
    assert faults.abstained == 1
    device = federation.devices["east-1"]
    assert not device.replica.state["moved"].any() and not device.replica.state["momentum"].any()
    assert np.abs(federation.strategy.base - base).max() > 0


# -- sparse-signsgd ------------------------------------------------------------------------------


def test_only_the_largest_vote_and_the_majority_of_those_moves() -> None:
    chosen = Settings(momentum=0, options={"fraction": 0.25})
    algorithm = SparseSignSGD(LAYOUT, chosen)
    k = math.ceil(0.25 * D)
    round_, total = algorithm.edge_round({}, [1] * 5), np.zeros(D)
    for device, gradient in enumerate(gradients(5)):
        ballot = algorithm.ballot(algorithm.device_state(), gradient, at())
        assert len(ballot) == sparse.payload_size(D, k) == algorithm.sizes().ballot
        round_.add(device, ballot)
        largest = np.argsort(-np.abs(gradient))[:k]
        total[largest] += signs(gradient)[largest]
    weights = np.zeros(D, np.float32)
    algorithm.apply(weights, round_.decide(at()), at())
    np.testing.assert_array_equal(weights, -np.float32(0.01) * np.sign(total))
    assert 0 < np.count_nonzero(weights) < D


def test_what_was_not_said_is_kept_or_not() -> None:
    for feedback in (False, True):
        options = {"error_feedback": feedback}
        algorithm = SparseSignSGD(LAYOUT, Settings(momentum=0, options=options))
        state, kept = algorithm.device_state(), np.zeros(D)
        for gradient in gradients(6):
            ballot = algorithm.ballot(state, gradient, at())
            positions, negative = sparse.decode(ballot, D, algorithm.k)
            kept = kept + gradient if feedback else gradient.astype(np.float64)
            assert set(positions) == set(np.argsort(-np.abs(kept))[: algorithm.k])
            assert np.array_equal(negative, kept[positions] < 0)
            kept[positions] = 0
        np.testing.assert_allclose(state["residual"], kept if feedback else 0, atol=1e-5)


def test_a_decision_that_is_none_is_refused() -> None:
    algorithm = SparseSignSGD(LAYOUT, Settings())
    for decision in (b"", b"\1\0\0", b"\xff" * 9, b"\2\0\0\0" + b"\0" * 3):
        with pytest.raises(PayloadError):
            algorithm.apply(np.zeros(D, np.float32), decision, at())


# -- vectors that add up -------------------------------------------------------------------------


def test_values_that_no_honest_device_has_are_refused() -> None:
    algorithm = HierQSGD(LAYOUT, Settings())
    round_ = algorithm.edge_round({}, [1, 1])
    huge = algorithm.codec.encode(np.full(D, 1e30, np.float32), np.random.default_rng(0))
    with pytest.raises(PayloadError, match="values beyond"):
        round_.add(0, huge)
