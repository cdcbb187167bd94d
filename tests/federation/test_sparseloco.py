"""SparseLoCo: Adam's local steps, decaying residuals, decisions that hold the ballots."""

from __future__ import annotations

import numpy as np
import pytest

from hierfl.algorithms.base import Settings, Step
from hierfl.algorithms.sparseloco import SparseLoCo
from hierfl.errors import PayloadError
from tests.federation.toy import LAYOUT

D = LAYOUT.d
AT = Step(1, "node", 1, 1, np.float32(0.01))
torch = pytest.importorskip("torch")


def gradients(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, D)).astype(np.float32)


def test_local_steps_are_adam_s() -> None:
    algorithm = SparseLoCo(LAYOUT, Settings(options={"local_steps": 6}))
    weights, ours = torch.nn.Parameter(torch.ones(D)), np.ones(D, np.float32)
    adam = torch.optim.AdamW([weights], lr=0.01, betas=(0.9, 0.95), weight_decay=0.0)
    state = algorithm.device_state()
    for gradient in gradients(6):
        weights.grad = torch.from_numpy(gradient.copy())
        adam.step()
        algorithm.local_step(state, ours, gradient, AT)
    np.testing.assert_allclose(ours, weights.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(state["moved"], 1 - ours, atol=1e-5)


def test_residuals_decay_and_keep_what_a_ballot_leaves_out() -> None:
    algorithm = SparseLoCo(LAYOUT, Settings(options={"local_steps": 1, "fraction": 0.2}))
    state, residual = algorithm.device_state(), np.zeros(D)
    for gradient in gradients(5):
        copy = {name: array.copy() for name, array in state.items()}
        weights = np.zeros(D, np.float32)
        algorithm.local_step(copy, weights, gradient, AT)  # what the ballot's own step does
        residual = 0.95 * residual - weights
        sent = algorithm.codec.decode(algorithm.ballot(state, gradient, AT))
        residual -= sent
        assert np.count_nonzero(sent) == -(-D // 5)
        np.testing.assert_allclose(state["residual"], residual, atol=1e-5)
        assert not state["moved"].any()


def test_a_decision_is_the_weighted_mean_of_the_ballots_in_any_order() -> None:
    algorithm = SparseLoCo(LAYOUT, Settings(options={"fraction": 0.2, "outer_lr": 0.5}))
    ballots = [algorithm.codec.encode(vector) for vector in gradients(3)]
    decisions = set()
    for order in ([0, 1, 2], [2, 0, 1]):
        round_ = algorithm.edge_round(algorithm.edge_state(), [1, 2, 5])
        for device in order:
            round_.add(device, ballots[device])
        decisions.add(round_.decide(AT))
    (decision,) = decisions
    weights = np.zeros(D, np.float32)
    algorithm.apply(weights, decision, AT)
    shares = np.array([1, 2, 5]) / 8
    mean = sum(share * algorithm.codec.decode(b) for share, b in zip(shares, ballots, strict=True))
    np.testing.assert_allclose(weights, -0.5 * mean, atol=1e-6)


def test_a_decision_that_is_none_is_refused() -> None:
    algorithm = SparseLoCo(LAYOUT, Settings())
    ballot = algorithm.codec.encode(gradients(1)[0])
    share = np.array([2.0], "<f4").tobytes()
    for decision in (b"", b"\0\0", b"\1\0" + ballot, b"\1\0" + share + ballot):
        with pytest.raises(PayloadError):
            algorithm.apply(np.zeros(D, np.float32), decision, AT)
