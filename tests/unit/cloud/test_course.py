"""When a run stops, and which model was the best."""

from __future__ import annotations

import math

import pytest

from cloud.course import Course
from hierfl.config.sections import Evaluate
from hierfl.errors import ConfigError


def run(settings: Evaluate, *values: float | None) -> tuple[Course, list[int]]:
    """Give a course values until it stops; return it, and the rounds of the best so far."""
    course, best = Course(settings), []
    for round_, value in enumerate(values, start=1):
        if course.take(round_, {settings.metric: value}):
            best.append(round_)
        if course.stopped:
            break
    return course, best


def test_less_of_a_loss_is_better() -> None:
    course, best = run(Evaluate(keep_best=True), 3.0, 2.0, 2.0, 2.5, 1.0)
    assert best == [1, 2, 5] and course.best == (5, 1.0) and not course.stopped


def test_more_of_an_accuracy_is_better() -> None:
    assert run(Evaluate(metric="accuracy"), 0.1, 0.3, 0.2)[1] == [1, 2]


@pytest.mark.parametrize(("mode", "best"), [("min", [1, 3]), ("max", [1, 2])])
def test_a_metric_of_ones_own_has_a_mode(mode: str, best: list[int]) -> None:
    settings = Evaluate.model_validate({"metric": "alarms", "mode": mode})
    assert run(settings, 4.0, 6.0, 3.0)[1] == best


def test_a_target_ends_the_run() -> None:
    course, _ = run(Evaluate(metric="accuracy", stop_at=0.5), 0.4, 0.5, 0.9)
    assert course.best == (2, 0.5)
    assert course.stopped == "accuracy has reached 0.5: 0.5 after round 2"


def test_patience_ends_the_run() -> None:
    course, best = run(Evaluate(patience=2), 3.0, 2.0, 2.0, 2.1, 0.1)
    assert best == [1, 2]
    assert course.stopped == ("loss has not been better for 2 evaluations than 2, after round 2")


def test_what_is_no_number_is_never_better() -> None:
    course, best = run(Evaluate(patience=2), math.nan, None, 1.0, math.inf, None)
    assert best == [3] and course.stopped


def test_a_figure_that_the_task_has_not_is_named() -> None:
    with pytest.raises(ConfigError, match="no figure 'accuracy'; it has loss, mse"):
        Course(Evaluate(metric="accuracy", stop_at=1.0)).take(1, {"loss": 1.0, "mse": 1.0})
    assert not Course(Evaluate()).take(1, {"mse": 1.0})  # nobody has asked for the loss
