"""Mean votes, and the algorithms whose clusters move by them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierfl.algorithms.base import Settings, Step
from hierfl.algorithms.distributed_lion import DistributedLion, DistributedLionMean
from hierfl.algorithms.mean_vote import decode
from hierfl.algorithms.z_signfedavg import ZSignFedAvg
from hierfl.errors import ConfigError, PayloadError
from hierfl.numerics import signs
from tests.federation.toy import LAYOUT, toy

D = LAYOUT.d
AT = Step(1, "node", 1, 1, np.float32(0.01))


def gradients(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, D)).astype(np.float32)


# -- mean votes ----------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(0, 2**32))
def test_a_decision_is_the_mean_of_the_ballots(voters: int, seed: int) -> None:
    algorithm = DistributedLionMean(LAYOUT, Settings())
    round_ = algorithm.edge_round(algorithm.edge_state(), [10] * voters)
    ballots = np.where(gradients(voters, seed) < 0, np.float32(-1), np.float32(1))
    for device, ballot in enumerate(ballots):
        round_.add(device, signs.pack(ballot).tobytes())
    decision, weights = round_.decide(AT), np.ones(D, np.float32)
    assert len(decision) == 2 + voters.bit_length() * signs.packed_size(D)
    algorithm.apply(weights, decision, AT)
    np.testing.assert_allclose(weights, 1 - 0.01 * ballots.mean(axis=0), atol=1e-6)


def test_what_is_not_reported_is_kept() -> None:
    algorithm = DistributedLionMean(LAYOUT, Settings(steps=3))
    edge, meant, reported = algorithm.edge_state(), np.zeros(D), np.zeros(D)
    for t in (1, 2):
        round_ = algorithm.edge_round(edge, [10, 10])
        for s in (1, 2, 3):
            for device, vector in enumerate(gradients(2, 10 * t + s)):
                round_.add(device, signs.pack(vector).tobytes())
            meant += decode(round_.decide(AT), D)
        reported += algorithm.reports.decode(round_.report(AT))
        np.testing.assert_allclose(reported + edge["unreported"], meant, atol=1e-5)


@pytest.mark.parametrize(
    "decision", [b"", b"\0\0", b"\2\0" + b"\0" * 3, b"\2\0" + b"\xff" * 2 * ((D + 7) // 8)]
)
def test_a_decision_that_is_none_is_refused(decision: bytes) -> None:
    with pytest.raises(PayloadError):
        DistributedLionMean(LAYOUT, Settings()).apply(np.zeros(D, np.float32), decision, AT)


# -- distributed-lion ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [DistributedLion, DistributedLionMean])
def test_a_ballot_is_lion_s_direction(kind: type[DistributedLion | DistributedLionMean]) -> None:
    algorithm = kind(LAYOUT, Settings())
    state, momentum = algorithm.device_state(), np.zeros(D)
    for gradient in gradients(5):
        ballot = algorithm.ballot(state, gradient, AT)
        blend = 0.9 * momentum + 0.1 * gradient
        momentum = 0.99 * momentum + 0.01 * gradient
        sure = np.abs(blend) > 1e-5
        np.testing.assert_array_equal(signs.unpack(ballot, D)[sure], np.sign(blend)[sure])
        np.testing.assert_allclose(state["momentum"], momentum, atol=1e-6)


def test_one_device_a_cluster_makes_both_the_same_but_for_the_report() -> None:
    sets = ["algorithm.lr=0.01", 'edges=[{"name": "east", "devices": 1}]', "downlink.codec=float32"]
    bases = []
    for name in ("distributed-lion", "distributed-lion-mean"):
        extra = ["uplink.codec=float32"] if name.endswith("mean") else []
        federation = toy([f"algorithm.name={name}", *sets, *extra])
        federation.run()
        bases.append(federation.strategy.base)
    np.testing.assert_allclose(*bases, atol=1e-5)


# -- z-signfedavg --------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", ["normal", "uniform"])
def test_the_scaled_mean_vote_tells_the_gradients_sum(noise: str) -> None:
    """E[eta sigma sign(G + sigma xi)]: G itself with uniform noise, erf with normal noise."""
    sigma, draws = 4.0, 4000
    options = {"local_steps": 2, "noise": noise, "sigma": sigma}
    algorithm = ZSignFedAvg(LAYOUT, Settings(options=options))
    first, last = gradients(2)
    total, step = np.zeros(D), algorithm.step_size(AT) / AT.lr
    state = algorithm.device_state()
    for s in range(draws):
        at, weights = Step(1, "node", 1, s, AT.lr), np.zeros(D, np.float32)
        algorithm.local_step(state, weights, first, at)
        np.testing.assert_allclose(weights, -at.lr * first)
        total += signs.unpack(algorithm.ballot(state, last, at), D)
    meant = np.clip(first + last, -sigma, sigma).astype(np.float64)
    if noise == "normal":
        ratio = (first + last).astype(np.float64) / sigma
        erf = np.vectorize(math.erf)(ratio / math.sqrt(2))
        meant = math.sqrt(math.pi / 2) * sigma * erf
    # Hoeffding: a mean of draws of +-1 leaves this band with probability 1e-7.
    band = step * math.sqrt(2 * math.log(2 * D / 1e-7) / draws)
    assert np.abs(step * total / draws - meant).max() <= band
    assert not state["sum"].any()


def test_its_options_are_checked() -> None:
    for options in ({"noise": "loud"}, {"sigma": 0.0}, {"local_steps": 0}):
        with pytest.raises(ConfigError):
            ZSignFedAvg(LAYOUT, Settings(options=options))  # type: ignore[arg-type]
