"""What follows from evaluations: which model is the best so far, and whether the run stops."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hierfl.config.sections import Evaluate
from hierfl.errors import ConfigError


class Stopped(Exception):
    """The run ends before its last round, and well."""


class Course:
    """Compares one evaluation after the other.

    Args:
        settings: what is compared, and when to stop.

    Attributes:
        best: the round of the best model so far, and its value of the metric; None: there is none.
        stopped: why the run stops; "": it does not.
    """

    def __init__(self, settings: Evaluate) -> None:
        self.best: tuple[int, float] | None = None
        self.stopped = ""
        self._settings = settings
        self._since = 0  # evaluations that were not better

    def take(self, round_: int, figures: Mapping[str, Any]) -> bool:
        """Take an evaluation; return whether the model is the best so far.

        Args:
            round_: after which round.
            figures: a figure that is no finite number is None or NaN.

        Raises:
            ConfigError: there is no such figure as is to be compared.
        """
        metric, sign = self._settings.metric, self._settings.sign
        if metric not in figures:
            if not self._settings.compares:
                return False
            known = ", ".join(figures)
            raise ConfigError(
                "evaluate.metric", f"the task has no figure {metric!r}; it has {known}"
            )
        value = figures[metric]
        known_value = value is not None and math.isfinite(value)
        if known_value and (self.best is None or sign * value > sign * self.best[1]):
            self.best, self._since = (round_, float(value)), 0
        else:
            self._since += 1
        self._decide()
        return self._since == 0

    def _decide(self) -> None:
        metric, target, patience = (
            self._settings.metric, self._settings.stop_at, self._settings.patience
        )  # fmt: skip
        if self.best is None:
            return
        round_, value = self.best
        if target is not None and self._settings.sign * (value - target) >= 0:
            self.stopped = f"{metric} has reached {target:g}: {value:.6g} after round {round_}"
        elif patience is not None and self._since >= patience:
            self.stopped = (
                f"{metric} has not been better for {patience} evaluations than {value:.6g}, "
                f"after round {round_}"
            )
