"""Sto-SignSGD: a ballot's expectation is the gradient, in units of b."""

from __future__ import annotations

import math

import numpy as np

from hierfl.algorithms.base import Settings, Step
from hierfl.algorithms.sto_signsgd import StoSignSGD
from hierfl.numerics import signs
from tests.federation.toy import LAYOUT, toy


def test_a_ballot_s_expectation_is_the_gradient_cut_to_b() -> None:
    algorithm, draws, d = StoSignSGD(LAYOUT, Settings(options={"bound": 1.5})), 4000, LAYOUT.d
    gradient = np.random.default_rng(0).standard_normal(d).astype(np.float32)
    mean = np.zeros(d)
    for s in range(draws):
        ballot = algorithm.ballot({}, gradient, Step(1, "device", 1, s, np.float32(0.01)))
        mean += signs.unpack(ballot, d) / draws
    # Hoeffding: a mean of draws of +-1 leaves this band with probability 1e-7.
    band = math.sqrt(2 * math.log(2 * d / 1e-7) / draws)
    assert np.abs(mean - np.clip(gradient / 1.5, -1, 1)).max() <= band


def test_where_signs_of_few_outvote_it_does_not() -> None:
    """Two of three devices pull weakly one way, one strongly the other: the mean is its way."""
    targets = {f"{edge}-{i}": (-1.0 if i else 4.0) for edge in ("east", "west") for i in range(3)}
    ends = {}
    for name, sets in (("hier-signsgd", ["momentum=0"]), ("sto-signsgd", ["options.bound=8"])):
        federation = toy(
            [f"algorithm.name={name}", "algorithm.lr=0.05", "algorithm.rounds=60",
             *(f"algorithm.{key}" for key in sets)],
            targets=targets,
        )  # fmt: skip
        federation.run()
        ends[name] = float(federation.strategy.base.mean())
    assert ends["hier-signsgd"] < -0.3  # where most of them want to be
    assert ends["sto-signsgd"] > 0.3  # near the optimum, 2/3
