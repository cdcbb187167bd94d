"""EF-FedAvg's theorems: what it is where signs lose nothing, and that nothing is lost for good."""

from __future__ import annotations

import numpy as np
import pytest

from hierfl.algorithms.base import Settings, Step
from hierfl.algorithms.ef_fedavg import EFFedAvg
from hierfl.numerics.layout import Layout
from hierfl.numerics.rng import generator
from tests.federation.toy import LAYOUT, toy

D = LAYOUT.d
SCALARS = Layout(tuple(f"w{i}" for i in range(9)), ((1,),) * 9)
"""Tensors of one coordinate: a scale and a sign say all of it, and S loses nothing."""

TARGETS = {f"{edge}-{i}": 0.3 * i - 0.2 for edge in ("east", "west") for i in range(3)}
EXAMPLES = {name: 10 + 7 * i for i, name in enumerate(TARGETS)}
EXACT = [
    "algorithm.options.local_steps=3", "uplink.codec=float32", "downlink.codec=float32",
]  # fmt: skip


def base(name: str, *sets: str) -> np.ndarray:
    federation = toy(
        [f"algorithm.name={name}", "algorithm.lr=0.1", *EXACT, *sets],
        targets=TARGETS, examples=EXAMPLES, layout=SCALARS,
    )  # fmt: skip
    federation.run()
    return federation.strategy.base


def test_where_signs_lose_nothing_it_is_hier_fedavg() -> None:
    exact = "algorithm.options.aggregation=mean"
    plain = base("ef-fedavg", exact, "algorithm.options.outer_momentum=0")
    np.testing.assert_allclose(plain, base("hier-fedavg"), atol=1e-5)
    assert np.abs(base("ef-fedavg", exact) - plain).max() > 0.01


def test_where_signs_lose_nothing_its_outer_step_is_nesterov_s() -> None:
    sets = ["algorithm.name=ef-fedavg", "algorithm.lr=0.1", "algorithm.momentum=0", *EXACT]
    federation = toy(
        [*sets, "algorithm.options.outer_momentum=0.7", "algorithm.options.aggregation=mean",
         "algorithm.rounds=2"],
        targets=TARGETS, layout=SCALARS,
    )  # fmt: skip
    config, start = federation.config, federation.strategy.base.astype(np.float64)
    federation.run()
    velocity = {edge: np.zeros(SCALARS.d) for edge in config.tree()}
    for t in (1, 2):
        ends, lr = [], (0.1, 0.05)[t - 1]
        for edge, members in config.tree().items():
            w = start.copy()
            for s in range(1, config.algorithm.edge_steps + 1):
                moves = []
                for name in members:
                    draw, end = generator(config.seed, name, t, s, "minibatch"), w.copy()
                    for _ in range(3):
                        noise = draw.standard_normal(SCALARS.d, np.float32)
                        end -= lr * (end - TARGETS[name] + noise)
                    moves.append(w - end)
                velocity[edge] = 0.7 * velocity[edge] + np.mean(moves, axis=0)
                w = w - (0.7 * velocity[edge] + np.mean(moves, axis=0))
            ends.append(w)
        start = np.mean(ends, axis=0)
    np.testing.assert_allclose(federation.strategy.base, start, atol=1e-5)


@pytest.mark.parametrize("fraction", [1.0, 0.1])
def test_every_hop_sends_what_was_meant_but_its_residual(fraction: float) -> None:
    options = {"fraction": fraction, "local_steps": 3, "outer_momentum": 0.5}
    algorithm = EFFedAvg(LAYOUT, Settings(steps=2, options=options))
    device, edge, draw = algorithm.device_state(), algorithm.edge_state(), np.random.default_rng(0)
    led, sent, moves, reported, velocity = (np.zeros(D) for _ in range(5))
    for t in (1, 2, 3):
        round_, decided, meant = algorithm.edge_round(edge, [10]), np.zeros(D), np.zeros(D)
        for s in (1, 2):
            at = Step(1, "node", t, s, np.float32(0.1))
            weights = np.zeros(D, np.float32)
            for _ in range(2):
                gradient = draw.standard_normal(D, np.float32)
                algorithm.local_step(device, weights, gradient, at)
            ballot = algorithm.ballot(device, draw.standard_normal(D, np.float32), at)
            led += 0.1 * device["momentum"] - weights
            said = algorithm.ballots.decode(ballot)
            sent += said
            round_.add(0, ballot)
            decided += algorithm.codec.decode(round_.decide(at))
            velocity = 0.5 * velocity + said
            meant += 0.5 * velocity + said
            np.testing.assert_allclose(sent + device["residual"], led, atol=1e-4)
            np.testing.assert_allclose(decided + round_._unsaid, meant, atol=1e-4)  # type: ignore[attr-defined]
        moves += meant
        reported += algorithm.reports.decode(round_.report(at))
        np.testing.assert_allclose(reported + edge["unreported"], moves, atol=1e-4)
    assert len(ballot) == algorithm.sizes().ballot


def test_a_round_s_decisions_begin_with_what_that_round_says() -> None:
    """What decisions left out of a round has come with its report, and must not come twice."""
    algorithm = EFFedAvg(LAYOUT, Settings(steps=1, options={"outer_momentum": 0.0}))
    edge, at = algorithm.edge_state(), Step(1, "edge", 1, 1, np.float32(0.1))
    vectors = np.random.default_rng(0).standard_normal((2, D)).astype(np.float32)
    for vector in vectors:
        round_ = algorithm.edge_round(edge, [10])
        round_.add(0, algorithm.ballots.encode(vector))
        decision = algorithm.codec.decode(round_.decide(at))
        mean = algorithm.ballots.decode(algorithm.ballots.encode(vector))
        expected = algorithm.codec.decode(algorithm.codec.encode(mean))
        np.testing.assert_array_equal(decision, expected)


def test_it_comes_near_the_optimum_of_opposed_clusters() -> None:
    opposed = {f"east-{i}": 1.0 for i in range(3)} | {f"west-{i}": -1.0 for i in range(3)}
    federation = toy(
        ["algorithm.name=ef-fedavg", "algorithm.lr=0.02", "algorithm.rounds=60"], targets=opposed
    )
    start = np.abs(federation.strategy.base).mean()
    federation.run()
    assert np.abs(federation.strategy.base).mean() < 0.15 * start


def test_an_abstention_in_a_local_step_leaves_no_trace() -> None:
    federation = toy(
        ["algorithm.name=ef-fedavg", "algorithm.rounds=1", "algorithm.edge_steps=1",
         "algorithm.options.local_steps=5"]
    )  # fmt: skip
    federation.trainers["east-1"].poison = {3}
    _, faults = federation.run()
    assert faults.abstained == 1
    state = federation.devices["east-1"].replica.state
    assert not state["residual"].any() and not state["momentum"].any()
