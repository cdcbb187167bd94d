"""Sums of metrics on their way up: exact, checked, and added in one order."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from hierfl.errors import PayloadError
from hierfl.protocol.evaluated import LONGEST, Evaluated, merge


def found(examples: float, loss: float, worst: float | None = None, **more: object) -> Evaluated:
    sums = {"examples": examples, "loss": loss * examples, **more}
    arrays = {name: np.asarray(value, np.float64) for name, value in sums.items()}
    return Evaluated(arrays, loss if worst is None else worst)


@given(st.floats(), st.lists(st.floats(), max_size=5))
def test_what_is_sent_arrives_exactly(worst: float, values: list[float]) -> None:
    said = Evaluated(
        {"examples": np.array(3.0), "table": np.array(values), "x": np.array(worst)}, worst
    )
    heard = Evaluated.from_bytes(said.to_bytes())
    assert list(heard.sums) == ["examples", "table", "x"]
    assert np.array(heard.worst).tobytes() == np.array(worst).tobytes()
    for name, value in said.sums.items():
        assert heard.sums[name].tobytes() == value.tobytes()
        assert heard.sums[name].shape == value.shape


GOOD = found(4, 0.5).to_bytes()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"x", GOOD[:-1], GOOD + b"x", GOOD * 2, b"\0" * (LONGEST + 1),
        save({"examples": np.array(1.0)}),
        save({"\0worst": np.array(1.0)}),
        save({"\0worst": np.zeros(2), "examples": np.array(1.0)}),
        save({"\0worst": np.array(1.0), "examples": np.array(0.0)}),
        save({"\0worst": np.array(1.0), "examples": np.array(math.nan)}),
        save({"\0worst": np.array(1.0), "examples": np.array(1.0, np.float32)}),
    ],
)  # fmt: skip
def test_what_are_no_sums_is_refused(data: bytes) -> None:
    with pytest.raises(PayloadError, match="metrics"):
        Evaluated.from_bytes(data)


def test_what_is_too_long_is_not_sent() -> None:
    with pytest.raises(PayloadError, match="bytes"):
        found(1, 1, table=np.zeros(LONGEST // 8)).to_bytes()


def test_sums_are_added_and_the_worst_is_named() -> None:
    both = {"a": found(10, 0.5, table=[1, 2]), "b": found(30, 0.7, table=[3, 4])}
    merged = merge(both, -1)
    assert merged is not None
    sums, worst = merged[0].sums, merged[1]
    assert sums["examples"] == 40 and sums["loss"] == pytest.approx(26)
    assert sums["table"].tolist() == [4, 6]
    assert (worst, merged[0].worst) == ("b", 0.7)
    assert merge(both, 1)[1] == "a"  # type: ignore[index]
    assert merge({}, 1) is None


def test_a_device_whose_figure_is_no_number_is_the_worst() -> None:
    merged = merge({"a": found(1, 9.0), "b": found(1, 1.0, worst=math.nan)}, -1)
    assert merged is not None and merged[1] == "b"


def test_a_device_with_a_sum_that_is_no_number_is_the_worst() -> None:
    both = {"a": found(1, 9.0, other=0.0), "b": found(1, 1.0, other=math.inf)}
    merged = merge(both, -1)
    assert merged is not None and merged[1] == "b"
    assert both["a"].is_finite and not merged[0].is_finite


def test_sums_of_other_metrics_are_left_out() -> None:
    merged = merge({"a": found(1, 1.0), "b": found(5, 1.0, other=3.0), "c": found(2, 4.0)}, -1)
    assert merged is not None and merged[0].sums["examples"] == 3
