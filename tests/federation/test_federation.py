"""Whole federations in memory, held against dense arithmetic."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from hierfl.algorithms import BUILT_IN, algorithm_class
from hierfl.errors import RunFailed
from hierfl.numerics.client_sampling import drawn
from hierfl.planning.forecast import forecast
from hierfl.protocol.messages import BaseAck
from hierfl.protocol.progress import StepDone
from hierfl.protocol.vectors import model_hash
from tests.federation.reference import hier_signsgd
from tests.federation.toy import LAYOUT, ToyModel, toy

TARGETS = {f"{edge}-{i}": 0.3 * i - 0.2 for edge in ("east", "west") for i in range(3)}
EXAMPLES = {name: 10 + 7 * i for i, name in enumerate(TARGETS)}


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_hier_signsgd_is_the_dense_algorithm_bit_for_bit(momentum: float) -> None:
    federation = toy(
        [f"algorithm.momentum={momentum}", "algorithm.lr=0.01"],
        targets=TARGETS,
        examples=EXAMPLES,
    )
    base = federation.strategy.base.copy()
    federation.run()
    expected = hier_signsgd(federation.config, LAYOUT, base, TARGETS, EXAMPLES)
    assert federation.strategy.base.tobytes() == expected.tobytes()


@pytest.mark.parametrize("tie", ["random", "zero", "keep"])
def test_even_clusters_are_deterministic_and_learn(tie: str) -> None:
    sets = ["edges.0.devices=4", "edges.1.devices=2", f"algorithm.tie={tie}"]
    sets += ["algorithm.lr=0.05", "algorithm.edge_steps=10", "algorithm.rounds=12"]
    sets += ["algorithm.momentum=0.5"]
    hashes, distances = set(), []
    for _ in range(2):
        federation = toy(sets)
        before = np.abs(federation.strategy.base - 0.5).mean()
        federation.run()
        hashes.add(model_hash(federation.strategy.base))
        distances.append(np.abs(federation.strategy.base - 0.5).mean() / before)
    assert len(hashes) == 1
    assert distances[0] < 0.3


def test_hier_sgd_with_one_round_is_the_average_of_the_edges_models() -> None:
    federation = toy(
        ["algorithm.name=hier-sgd", "algorithm.momentum=0", "algorithm.lr=0.1",
         "algorithm.rounds=1", "algorithm.edge_steps=3"],
        targets=TARGETS, examples=EXAMPLES,
    )  # fmt: skip
    assert federation.config.downlink.codec == federation.config.uplink.codec == "float32"
    base = federation.strategy.base.astype(np.float64)
    federation.run()
    from hierfl.numerics.rng import generator

    models, weights = [], []
    for members in federation.config.tree().values():
        w = base.copy()
        total = sum(EXAMPLES[name] for name in members)
        for s in (1, 2, 3):
            mean = np.zeros_like(w)
            for name in members:
                draw = generator(federation.config.seed, name, 1, s, "minibatch")
                noise = draw.standard_normal(LAYOUT.d, np.float32)
                mean += EXAMPLES[name] / total * (w - TARGETS[name] + noise)
            w -= 0.1 * mean
        models.append(w)
        weights.append(total)
    np.testing.assert_allclose(
        federation.strategy.base, np.average(models, axis=0, weights=weights), atol=1e-5
    )


@pytest.mark.parametrize("codec", ["float32", "qsgd", "topk", "sign"])
def test_every_downlink_keeps_all_nodes_at_the_same_bits(codec: str) -> None:
    federation = toy([f"downlink.codec={codec}", "algorithm.lr=0.02", "algorithm.rounds=10"])
    before = np.abs(federation.strategy.base - 0.5).mean()
    federation.run()
    final = federation.strategy.base
    bases = {device.replica.base.tobytes() for device in federation.devices.values()}
    assert bases == {final.tobytes()}
    assert np.abs(final - 0.5).mean() < 0.8 * before


def test_the_residual_and_what_was_sent_are_what_was_meant() -> None:
    federation = toy(["downlink.codec=sign", "algorithm.lr=0.02", "algorithm.rounds=6"])
    exact = toy(["downlink.codec=float32", "algorithm.lr=0.02", "algorithm.rounds=6"])
    start = federation.strategy.base.astype(np.float64)
    sums = np.zeros(LAYOUT.d)
    algorithm = federation.plan.algorithm
    original = type(algorithm).change

    def spy(self, state, reports, at):  # type: ignore[no-untyped-def]
        change = original(self, state, reports, at)
        sums[:] += change.model
        return change

    algorithm.change = spy.__get__(algorithm)  # type: ignore[method-assign]
    federation.run()
    sent = federation.strategy.base - start
    np.testing.assert_allclose(sent + federation.strategy.rounds.state.residual, sums, atol=1e-6)
    exact.run()  # and with float32 nothing is left behind
    assert not exact.strategy.rounds.state.residual.any()


def test_bytes_are_what_the_algorithm_says() -> None:
    federation = toy()
    devices, faults = federation.run()
    edges = federation.grid.ledger.traffic()
    d, steps, rounds = LAYOUT.d, 4, 3
    size, whole = math.ceil(d / 8), 4 * d
    down = 4 * len(LAYOUT.names) + size
    assert devices.up.payload == 6 * steps * rounds * size
    assert devices.down.payload == 6 * (whole + rounds * ((steps - 1) * size + down))
    assert edges.up.payload == 2 * rounds * math.ceil(math.log2(steps + 1)) * size
    assert edges.down.payload == 2 * (whole + rounds * down)
    for count in (devices.up, devices.down, edges.up, edges.down):
        assert count.messages - count.payload <= 300 * count.frames
    assert not any(faults.to_list())


def test_each_round_asks_the_devices_that_are_drawn_for_it_and_the_others_follow() -> None:
    federation = toy(["algorithm.participation=0.5", "algorithm.rounds=5"])
    asked: Counter[str] = Counter()
    devices, faults = federation.run()
    for edge, names in federation.config.tree().items():
        drawings = [drawn(1, edge, round_, 0.5, 3) for round_ in range(1, 6)]
        assert all(len(positions) == 2 for positions in drawings)
        asked.update(names[position] for positions in drawings for position in positions)
    steps = federation.config.algorithm.edge_steps
    assert {n: trainer.calls for n, trainer in federation.trainers.items() if trainer.calls} == {
        name: rounds * steps for name, rounds in asked.items()
    }
    assert len(asked) > 4  # in five rounds not only the two of each cluster that were drawn first
    planned = forecast(federation.config, federation.plan).payload()
    assert devices.up.payload == planned["device_up"]
    assert devices.down.payload == planned["device_down"]
    assert federation.results[0].voters == {"east": 2, "west": 2}
    bases = {model_hash(device.replica.base) for device in federation.devices.values()}
    assert bases == {model_hash(federation.strategy.base)}
    assert not any(faults.to_list())


def test_a_gradient_that_is_not_finite_is_no_vote_and_changes_no_state() -> None:
    federation = toy(["algorithm.rounds=1"])
    federation.trainers["east-1"].poison = {2}
    devices, faults = federation.run()
    assert faults.abstained == 1
    assert federation.results[0].voters == {"east": 2, "west": 3}
    assert devices.up.payload == (6 * 4 - 1) * math.ceil(LAYOUT.d / 8)
    assert np.isfinite(federation.devices["east-1"].replica.state["momentum"]).all()


def test_where_nobody_can_vote_the_run_stops_and_says_where() -> None:
    federation = toy(["algorithm.rounds=1"])
    for name in ("west-0", "west-1", "west-2"):
        federation.trainers[name].poison = {3}
    with pytest.raises(RunFailed, match="no device of west could vote in round 1, step 3"):
        federation.run()


def test_shares_follow_the_samples_that_took_part() -> None:
    """A step without one device weighs its edge less: 3 x 10 x 4 steps against one vote fewer."""
    federation = toy(["algorithm.rounds=1", "downlink.codec=float32", "algorithm.lr=0.5"])
    federation.trainers["east-0"].poison = {1}
    shares: list[float] = []
    original = federation.plan.algorithm.change

    def spy(state, reports, at):  # type: ignore[no-untyped-def]
        shares.extend(report.share for report in reports)
        return original(state, reports, at)

    federation.plan.algorithm.change = spy  # type: ignore[method-assign]
    federation.run()
    assert shares == [110 / 230, 120 / 230]


def test_a_device_with_other_bits_is_named() -> None:
    federation = toy()
    device = federation.devices["west-1"]
    honest = device.move

    def move(round_, base):  # type: ignore[no-untyped-def]
        answer = honest(round_, base)
        if round_ < 3:
            return answer
        assert isinstance(answer, BaseAck)
        return replace(answer, hash="0" * 64)

    device.move = move  # type: ignore[method-assign]
    with pytest.raises(RunFailed, match=r"west: west-1: .* differs .* start of round 3"):
        federation.run()


def test_a_device_that_fails_stops_a_full_quorum_but_not_a_smaller_one() -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("battery")

    full = toy()
    full.trainers["east-2"].gradient = fail  # type: ignore[method-assign, assignment]
    with pytest.raises(RunFailed, match=r"^east: east-2: RuntimeError: battery$"):
        full.run()
    smaller = toy(["quorum.devices=0.6"])
    smaller.trainers["east-2"].gradient = fail  # type: ignore[method-assign, assignment]
    smaller.run()
    assert [result.voters for result in smaller.results] == [{"east": 2, "west": 3}] * 3


def test_buffers_are_averaged_by_samples() -> None:
    federation = toy(["algorithm.rounds=1"], examples=EXAMPLES, buffers=2)
    federation.run()
    # In 4 steps a device adds 4 times its number of samples to its statistics.
    total = sum(EXAMPLES.values())
    expected = sum(n * 4 * n for n in EXAMPLES.values()) / total
    np.testing.assert_allclose(federation.strategy.rounds.state.buffers, [expected] * 2, rtol=1e-6)
    for trainer in federation.trainers.values():
        model: ToyModel = trainer.model
        np.testing.assert_array_equal(model.statistics, federation.strategy.rounds.state.buffers)


def test_news_reach_the_cloud() -> None:
    federation = toy()
    federation.run()
    news = [item for item in federation.news if isinstance(item, StepDone)]
    assert {(item.round, item.step) for item in news} >= {(1, 4), (2, 4), (3, 4)}
    assert all(item.voters == 3 and item.steps_per_s > 0 for item in news)


def test_every_built_in_name_is_found() -> None:
    assert {name: algorithm_class(name) for name in BUILT_IN} == BUILT_IN
