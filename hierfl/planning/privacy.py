"""How much noise a privacy budget takes, and how much of the budget is spent, by dp-accounting.

Both are those of the Poisson-subsampled Gaussian mechanism in Renyi differential privacy (Mironov,
Talwar and Zhang 2019, arXiv 1908.10530), between data sets that differ by one sample. Its
assumptions are what `hierfl.learning.private` does: each sample is in a minibatch by itself, with
the same probability, and an observer does not know which ones are.
"""

from __future__ import annotations

from types import ModuleType
from typing import cast

from hierfl.algorithms import BUILT_IN
from hierfl.algorithms.base import Algorithm
from hierfl.config import Config
from hierfl.config.sections import Privacy
from hierfl.errors import ConfigError

ORDERS = (*range(2, 65), 80, 96, 128, 192, 256, 512, 1024)
"""The orders of Renyi divergences that are tried: those with a closed form, which is fast."""

STEP = 0.001
"""What noise multipliers are rounded up to, so that all machines find the same."""


def with_noise(config: Config, chosen: type[Algorithm]) -> Config:
    """Return a configuration whose noise multiplier is found, and whose devices say no loss.

    Args:
        config: the configuration, with its section `privacy` or without.
        chosen: its algorithm.

    Raises:
        ConfigError: the algorithm is not one of sign votes, dp-accounting is not installed, or no
            noise is enough.
    """
    if config.privacy is None:
        return config
    if not chosen.sign_votes:
        able = ", ".join(name for name, known in BUILT_IN.items() if known.sign_votes)
        raise ConfigError(
            "privacy", f"devices of {config.algorithm.name} send more than signs of one gradient "
            "a step, which sign-dp does not randomize", f"Able are {able}.",
        )  # fmt: skip
    privacy = config.privacy
    if privacy.noise_multiplier is None:
        found = noise_multiplier(privacy, config.algorithm.total_steps)
        privacy = privacy.model_copy(update={"noise_multiplier": found})
    return config.model_copy(update={"privacy": privacy, "report_loss": False})


def noise_multiplier(privacy: Privacy, steps: int) -> float:
    """Return the least noise, in units of the sensitivity, with which so many steps are private.

    Raises:
        ConfigError: dp-accounting is not installed, or there is none below 10,000.
    """
    low, high = 0, 10_000_000  # in units of STEP
    if spent(privacy, high * STEP, steps) > privacy.epsilon:
        raise ConfigError("privacy.epsilon", f"no noise is enough for {steps:,} steps")
    while high - low > 1:
        middle = (low + high) // 2
        if spent(privacy, middle * STEP, steps) <= privacy.epsilon:
            high = middle
        else:
            low = middle
    return round(high * STEP, 3)


def spent(privacy: Privacy, noise: float, steps: int) -> float:
    """Return epsilon, at `privacy.delta`, after so many steps; infinity: none can be said.

    Raises:
        ConfigError: dp-accounting is not installed.
    """
    events = _library()
    accountant = events.rdp.RdpAccountant(ORDERS)  # for data sets of which one has a sample more
    step = events.PoissonSampledDpEvent(privacy.rate, events.GaussianDpEvent(noise))
    accountant.compose(step, steps)
    return float(accountant.get_epsilon(privacy.delta))


def _library() -> ModuleType:
    try:
        import dp_accounting
        import dp_accounting.rdp
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "dp_accounting":
            raise
        raise ConfigError(
            "privacy", "dp-accounting, which counts what is spent, is not installed",
            "pip install 'hierfl[privacy]'. A node whose configuration has the noise_multiplier\n"
            "that `hierfl validate` prints does not need it, but for the cloud.",
        ) from None  # fmt: skip
    return cast(ModuleType, dp_accounting)


class Spending:
    """What each device has spent of its budget, round by round.

    Args:
        config: the resolved configuration, with its section `privacy`.

    Raises:
        ConfigError: dp-accounting is not installed, or the noise is less than the budget takes.
    """

    def __init__(self, config: Config) -> None:
        assert config.privacy is not None and config.privacy.noise_multiplier is not None
        self.delta = config.privacy.delta
        self.noise = config.privacy.noise_multiplier
        self._privacy, self._steps = config.privacy, config.algorithm.edge_steps
        whole = self.after(config.algorithm.rounds)
        if whole > config.privacy.epsilon:
            least = noise_multiplier(config.privacy, config.algorithm.total_steps)
            raise ConfigError(
                "privacy.noise_multiplier",
                f"{self.noise:g} is too little: the run would spend an epsilon of {whole:.4g}",
                f"Leave it out, or set {least:g} at least.",
            )

    def after(self, rounds: int) -> float:
        """Return epsilon after so many rounds."""
        return spent(self._privacy, self.noise, rounds * self._steps)

    def summary(self, rounds: int) -> dict[str, float]:
        """Return what was spent after so many rounds, and of which mechanism."""
        found = {"epsilon": self.after(rounds), "delta": self.delta}
        return {**found, "noise_multiplier": self.noise}
