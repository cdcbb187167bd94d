"""Devices judge models as they get to the next base: exact sums, and the same bits of the model."""

from __future__ import annotations

import numpy as np
import pytest

from hierfl.protocol.evaluated import Evaluated
from hierfl.protocol.vectors import model_hash
from tests.federation.toy import Toy, toy

TARGETS = {"east-0": 0.1, "east-1": 0.9, "east-2": 0.4, "west-0": -0.5, "west-1": 0.2, "west-2": 0}
EXAMPLES = {name: 3 + i for i, name in enumerate(TARGETS)}
SETS = ["algorithm.rounds=4", "algorithm.edge_steps=3", "algorithm.lr=0.05"]


def federation(**evaluate: object) -> Toy:
    sets = [f"evaluate.{key}={value}" for key, value in evaluate.items()]
    return toy(SETS + sets, targets=TARGETS, examples=EXAMPLES)


def expected(base: np.ndarray) -> dict[str, float]:
    return {
        name: float(np.mean((base.astype(np.float64) - np.float32(target)) ** 2))
        for name, target in TARGETS.items()
    }


@pytest.mark.parametrize("every", [1, 3])
def test_the_federations_figure_and_the_worst_devices(every: int) -> None:
    plain = federation()
    plain.run()
    judged = federation()
    rounds = judged.strategy.rounds
    rounds.evaluates = lambda round_: round_ > 0 and round_ % every == 0
    heard: dict[int, tuple[Evaluated, str]] = {}
    losses = {}

    def opened() -> None:
        if rounds.evaluated is not None:
            round_ = rounds.state.round - 1
            heard[round_], losses[round_] = rounds.evaluated, expected(rounds.state.base)

    judged.strategy._on_open = opened
    judged.run()
    opened()
    assert list(heard) == [round_ for round_ in range(1, 5) if round_ % every == 0]
    for round_, (found, edge) in heard.items():
        by_name = losses[round_]
        total = sum(EXAMPLES[name] * loss for name, loss in by_name.items())
        assert found.sums["examples"] == sum(EXAMPLES.values())
        assert found.sums["loss"] == pytest.approx(total, rel=1e-12)
        worst = max(by_name, key=by_name.__getitem__)
        assert found.worst == by_name[worst] and worst.startswith(edge)
    assert model_hash(judged.strategy.base) == model_hash(plain.strategy.base)
