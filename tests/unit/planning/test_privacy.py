"""The accountant: recomputed by hand; and who cannot have privacy is told so."""

from __future__ import annotations

import math
import sys

import pytest

from hierfl.algorithms import BUILT_IN
from hierfl.config import Config, load_config
from hierfl.config.sections import Privacy
from hierfl.errors import ConfigError
from hierfl.planning.plan import resolve
from hierfl.planning.privacy import Spending, noise_multiplier, spent

pytest.importorskip("dp_accounting")


def config(*sets: str) -> Config:
    return resolve(load_config(None, ["privacy.epsilon=4", "privacy.delta=1e-5", *sets]))


def by_hand(rate: float, noise: float, steps: int, delta: float) -> float:
    """Epsilon by the closed form for integer orders.

    Mironov, Talwar and Zhang 2019 (arXiv 1908.10530), section 3.3; from Renyi to (epsilon, delta)
    by Balle et al. 2020 (arXiv 1905.09982), theorem 21.
    """
    best = math.inf
    for order in range(2, 200):
        terms = [
            math.lgamma(order + 1) - math.lgamma(k + 1) - math.lgamma(order - k + 1)
            + (order - k) * math.log1p(-rate) + k * math.log(rate)
            + (k * k - k) / (2 * noise * noise)
            for k in range(order + 1)
        ]  # fmt: skip
        highest = max(terms)
        total = highest + math.log(math.fsum(math.exp(term - highest) for term in terms))
        epsilon = (
            steps * total / (order - 1)
            + math.log1p(-1 / order)
            - (math.log(delta) + math.log(order)) / (order - 1)
        )
        best = min(best, epsilon)
    return best


@pytest.mark.parametrize(
    ("rate", "noise", "steps"), [(0.01, 1.0, 600), (0.1, 2.5, 600), (0.02, 0.8, 3000)]
)
def test_epsilon_is_what_one_finds_by_hand(rate: float, noise: float, steps: int) -> None:
    privacy = Privacy(epsilon=4, delta=1e-5, rate=rate)
    found, expected = spent(privacy, noise, steps), by_hand(rate, noise, steps, 1e-5)
    assert found == pytest.approx(expected, rel=0.001)


def test_without_sampling_it_is_the_gaussian_mechanism() -> None:
    privacy = Privacy(epsilon=4, delta=1e-5, rate=1.0)
    expected = min(
        50 * order / (2 * 100.0) + math.log1p(-1 / order) - math.log(1e-5 * order) / (order - 1)
        for order in range(2, 100)
    )
    assert spent(privacy, 10.0, 50) == pytest.approx(expected, rel=0.001)


def test_the_noise_is_the_least_that_is_enough() -> None:
    privacy = Privacy(epsilon=2, delta=1e-5, rate=0.02)
    found = noise_multiplier(privacy, 600)
    assert spent(privacy, found, 600) <= 2 < spent(privacy, found - 0.001, 600)


def test_the_budget_is_spent_at_the_last_round() -> None:
    resolved = config("algorithm.rounds=7")
    spending = Spending(resolved)
    rounds = [spending.after(round_) for round_ in range(1, 8)]
    assert rounds == sorted(set(rounds))
    assert 3.9 < rounds[-1] <= 4
    assert not resolved.report_loss


@pytest.mark.parametrize("name", BUILT_IN)
def test_an_algorithm_that_sends_more_than_signs_is_refused_by_name(name: str) -> None:
    if BUILT_IN[name].sign_votes:
        assert config(f"algorithm.name={name}").privacy is not None
        return
    with pytest.raises(ConfigError, match=f"devices of {name} send more than signs") as refused:
        config(f"algorithm.name={name}")
    assert "Able are hier-signsgd, " in str(refused.value.hint)


def test_less_noise_than_the_budget_takes_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"0\.3 is too little: the run would spend") as refused:
        Spending(config("privacy.noise_multiplier=0.3"))
    assert "Leave it out, or set " in str(refused.value.hint)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["privacy.epsilon=0"], "privacy.epsilon"),
        (["privacy.delta=1"], "privacy.delta"),
        (["data.partition={kind: own}", "data.standardize=federation"], "data.standardize"),
        (["data.partition={kind: own}"], "data.standardize"),
        (["data.partition={kind: own}", "data.standardize=none", "evaluate.at=devices"],
         "evaluate.at"),
    ],
)  # fmt: skip
def test_what_would_tell_all_the_same_is_refused(sets: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config(*sets)


def test_without_the_accountant_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("dp_accounting")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(ConfigError, match="is not installed") as refused:
        config()
    assert "hierfl[privacy]" in str(refused.value.hint)
