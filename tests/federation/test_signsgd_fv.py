"""Federated voting: weights are log likelihood ratios, and liars are found."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest

from hierfl.algorithms.base import Settings, Step
from hierfl.algorithms.signsgd_fv import FIRST, SignSGDFV, error_rates, suspects, trust
from hierfl.numerics import signs
from hierfl.numerics.layout import Layout

D, K = 4000, 5
LAYOUT = Layout(("w",), ((D,),))
FLIPS = (0.05, 0.2, 0.3, 0.4, 0.9)
"""With what probability each device's bit is wrong; the last one lies."""


def vote(steps: int) -> tuple[dict[str, np.ndarray], list[float]]:
    """Return an edge's state after some steps, and each decision's share of wrong signs."""
    algorithm, draw = SignSGDFV(LAYOUT, Settings(steps=steps)), np.random.default_rng(0)
    state, wrong = algorithm.edge_state(), []
    round_ = algorithm.edge_round(state, [10] * K)
    for s in range(1, steps + 1):
        truth = draw.random(D) < 0.5
        for device, p in enumerate(FLIPS):
            bits = np.packbits(truth ^ (draw.random(D) < p), bitorder="little")
            round_.add(device, bits.tobytes())
        decision = round_.decide(Step(1, "edge", 1, s, np.float32(0.01)))
        wrong.append(float(((signs.unpack(decision, D) < 0) != truth).mean()))
    round_.report(Step(1, "edge", 1, steps, np.float32(0.01)))
    return state, wrong


def test_votes_are_counted_equally_at_first_and_then_by_their_log_likelihood_ratio() -> None:
    state, wrong = vote(FIRST - 1)
    assert np.array_equal(trust(state), np.ones(K))
    majority = np.mean(wrong)
    state, wrong = vote(200)
    rates = error_rates(state)
    np.testing.assert_allclose(trust(state), np.log((1 - rates) / rates), rtol=1e-5)
    assert np.abs(rates - FLIPS).max() < 0.1
    assert list(np.argsort(-trust(state))) == list(range(K)) and trust(state)[-1] < 0
    # The likeliest sign is wrong as seldom as the surest device's, and seldomer than the majority.
    assert np.mean(wrong[FIRST:]) < min(majority / 2, FLIPS[0] + 0.01)


def test_who_is_likely_to_lie_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        state, _ = vote(60)
    assert suspects(state) == [K - 1]
    assert "edge, round 1: device 5 of 5 differs" in caplog.text
    assert suspects(vote(FIRST - 1)[0]) == []


def test_a_weight_is_bounded_and_a_device_that_never_voted_has_none() -> None:
    algorithm = SignSGDFV(LAYOUT, Settings(steps=FIRST))
    state = algorithm.edge_state()
    round_ = algorithm.edge_round(state, [1, 1])
    for s in range(1, FIRST + 1):
        round_.add(0, signs.pack(np.ones(D, np.float32)).tobytes())
        round_.decide(Step(1, "edge", 1, s, np.float32(0.01)))
    np.testing.assert_allclose(trust(state), [math.log(99), 0], rtol=1e-5)
