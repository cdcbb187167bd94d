"""DC-HierSignSGD's theorems, and the opening of a round that it needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cloud.result import RoundResult
from cloud.rounds import Journal
from cloud.state import CloudState
from cloud.strategy import HierStrategy
from hierfl.algorithms.base import Settings, Step
from hierfl.algorithms.dc_hier_signsgd import DCHierSignSGD
from hierfl.config import load_config
from hierfl.errors import ConfigError
from hierfl.planning.plan import resolve
from hierfl.protocol.checkpoint import Checkpoint
from hierfl.protocol.checkpoint_files import Checkpoints
from tests.federation.test_ef_lion import OPPOSED, distance
from tests.federation.toy import LAYOUT, Toy, cloud_rounds, toy

DC = "algorithm.name=dc-hier-signsgd"
AT = Step(1, "node", 1, 0, np.float32(0.01))


def test_opposed_clusters_settle_at_the_global_optimum() -> None:
    start = np.abs(np.linspace(-1, 1, LAYOUT.d)).mean()  # plain voting ends at 0.84 of it
    assert distance("dc-hier-signsgd", 0.02, rounds=60) < 0.15 * start


@settings(max_examples=30)
@given(
    hnp.arrays(np.bool_, LAYOUT.d),
    st.floats(2.0**-20, 2.0**20, width=32),
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
)
def test_identical_clusters_have_no_corrections(
    negative: np.ndarray, size: float, examples: list[int]
) -> None:
    algorithm = DCHierSignSGD(LAYOUT, Settings())
    gradient = np.where(negative, -size, size).astype(np.float32)
    shares = [n / sum(examples) for n in examples]
    part = algorithm.contribute(gradient, AT)
    own = algorithm.combine(shares, [part] * len(shares), AT)
    common = algorithm.combine(shares, [own] * len(shares), AT)
    state = algorithm.device_state()
    algorithm.accept(state, algorithm.respond(own, common, AT), AT)
    assert np.abs(state["correction"]).max() <= 2.0**-22 * size  # shares add up to 1, rounded


@given(st.integers(0, 2**32), st.lists(st.integers(1, 9), min_size=2, max_size=5))
def test_corrections_add_up_to_rounding_errors(seed: int, examples: list[int]) -> None:
    algorithm, draw = DCHierSignSGD(LAYOUT, Settings()), np.random.default_rng(seed)
    shares = [n / sum(examples) for n in examples]
    owns = [algorithm.contribute(draw.standard_normal(LAYOUT.d, np.float32), AT) for _ in shares]
    common = algorithm.combine(shares, owns, AT)
    decode = algorithm.codec.decode
    deltas = [decode(algorithm.respond(own, common, AT)) for own in owns]
    total = sum(share * delta for share, delta in zip(shares, deltas, strict=True))
    # A bucket's largest magnitude is kept, and nothing is moved by more than a 7th of it.
    most = np.abs(decode(common)).max() + max(np.abs(delta).max() for delta in deltas)
    assert np.abs(total).max() <= most / 7 + 1e-6


def test_a_federation_corrects_by_what_its_clusters_differ() -> None:
    federation = toy([DC, "algorithm.rounds=1"], targets=OPPOSED)
    federation.run()
    for name, device in federation.devices.items():
        drift = 1.0 if name.startswith("east") else -1.0  # c - c_q, at the mean of the noise
        assert device.replica.state["correction"].mean() == pytest.approx(drift, abs=0.2)
    east = [federation.devices[f"east-{i}"].replica.state["correction"].tobytes() for i in range(3)]
    assert len(set(east)) == 1


def test_a_part_that_is_not_finite_is_left_out_and_its_device_votes() -> None:
    federation = toy([DC, "algorithm.rounds=1"], targets=OPPOSED)
    federation.trainers["east-1"].poison = {2}  # the second minibatch of the opening
    _, faults = federation.run()
    assert faults.abstained == 0
    assert federation.results[0].voters == {"east": 3, "west": 3}
    assert federation.devices["east-1"].replica.state["correction"].any()


def test_where_a_cluster_has_no_part_nothing_is_corrected() -> None:
    federation = toy([DC, "algorithm.rounds=1"], targets=OPPOSED)
    for i in range(3):
        federation.trainers[f"east-{i}"].poison = {1}
    federation.run()
    assert not federation.devices["east-1"].replica.state["correction"].any()
    assert federation.results[0].voters == {"east": 3, "west": 3}


def test_the_opening_leaves_no_trace_in_the_buffers() -> None:
    federation = toy([DC, "algorithm.rounds=1"], buffers=2)
    federation.run()
    np.testing.assert_array_equal(
        federation.strategy.rounds.state.buffers, [40, 40]
    )  # 4 steps, 10 samples


def test_a_cloud_that_comes_back_gives_the_same_answer(tmp_path: Path) -> None:
    def strategy(federation: Toy, stop: int, kept: Checkpoint | None = None) -> HierStrategy:
        def on_round(result: RoundResult) -> None:
            if result.round == stop:
                raise KeyboardInterrupt

        base = np.linspace(-1, 1, LAYOUT.d, dtype=np.float32)
        plan, journal = federation.plan, Journal(Checkpoints(tmp_path, "cloud"))
        state = CloudState.first(plan.algorithm, base, np.zeros(0, np.float32))
        if kept is not None:
            state = CloudState.unpack(kept, plan.algorithm)
        rounds = cloud_rounds(federation.config, plan, federation.grid, state, journal)
        return HierStrategy(rounds, on_round)

    federation = toy([DC], targets=OPPOSED)
    first = strategy(federation, stop=2)
    with pytest.raises(KeyboardInterrupt):
        first.start(federation.grid, first.arrays(), num_rounds=3)
    kept = Checkpoints(tmp_path, "cloud").read(2)
    assert kept is not None
    second = strategy(federation, stop=0, kept=kept)
    second.start(federation.grid, second.arrays(), num_rounds=2)
    second.rounds.finish()
    straight = toy([DC], targets=OPPOSED)
    straight.run()
    assert second.base.tobytes() == straight.strategy.base.tobytes()


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("correction_bits=3", "correction_bits: should be from 4 to 8, not 3"),
        ("correction_batches=0", "correction_batches: should be from 1"),
        ("correction_bits=4.0", "4.0 is no int"),
        ("correction_bit=4", "no such option; did you mean correction_bits"),
    ],
)
def test_options_that_are_none_are_refused(option: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        resolve(load_config(None, [DC, f"algorithm.options.{option}"]))
