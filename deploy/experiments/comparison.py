"""The trials of a comparison, one for each combination."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.experiments.trials import Trial
from hierfl.config import Config


@dataclass(frozen=True)
class Comparison:
    """The trials, by algorithm, split and seed.

    Attributes:
        trials: (algorithm, split, seed) -> its trial, in the requested order.
        partitions: split -> the key `data.partition`.
    """

    trials: Mapping[tuple[str, str, str], Trial]
    partitions: Mapping[str, Mapping[str, Any]]

    @property
    def config(self) -> Config:
        """The configuration of the first trial; others differ in algorithm, split and seed."""
        return next(iter(self.trials.values())).config

    def of(self, algorithm: str, split: str) -> list[Trial]:
        """Return the trials of one algorithm on one split, in the order of the seeds."""
        return [trial for key, trial in self.trials.items() if key[:2] == (algorithm, split)]

    def asked(self, part: int) -> list[str]:
        """Return all algorithms (0), splits (1) or seeds (2)."""
        return list(dict.fromkeys(key[part] for key in self.trials))
