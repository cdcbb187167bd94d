"""How far an experiment is: the time left is that of the runs that are made here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from deploy.experiments import trials
from deploy.experiments.trials import Trial, counted
from hierfl.config import load_config


def test_runs_of_before_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    config = load_config(None)
    each = [Trial(config, tmp_path / str(number)) for number in range(4)]
    each[0].folder.mkdir()
    (each[0].folder / "summary.json").touch()

    def perform(trials: Sequence[Trial], *how: object) -> Iterator[Trial]:
        yield trials[0]
        for trial in trials[1:]:
            now[0] += 10.0
            yield trial

    monkeypatch.setattr(trials, "perform", perform)
    monkeypatch.setattr("deploy.experiments.trials.time.monotonic", lambda: now[0])
    said = [(at, left) for at, _, left in counted(each, 1, None)]  # type: ignore[arg-type]
    assert said == [("1/4", ""), ("2/4", "  0:20 left"), ("3/4", "  0:10 left"), ("4/4", "")]
