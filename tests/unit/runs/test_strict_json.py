"""What a run leaves is JSON to every program: without NaN and Infinity."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cloud.metrics import RoundMetrics, Summary, Worst
from hierfl.runs.strict_json import dumps

floats = st.floats(allow_nan=True, allow_infinity=True)
names = st.text("abcdefg", min_size=1, max_size=8)
plain = st.recursive(
    floats | st.integers() | st.text() | st.booleans() | st.none(),
    lambda inner: st.lists(inner) | st.dictionaries(names, inner) | st.tuples(inner, inner),
)


def refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is no JSON")


def strictly(text: str) -> Any:
    return json.loads(text, parse_constant=refuse)


@given(value=plain)
def test_whatever_is_written_is_strict(value: Any) -> None:
    strictly(dumps(value))


@given(figures=st.dictionaries(names, floats), worst=floats, loss=floats, lr=floats)
def test_a_round_and_a_summary_are_strict(
    figures: dict[str, float], worst: float, loss: float, lr: float
) -> None:
    links = dict.fromkeys(("device_up", "device_down", "edge_up", "edge_down"), 1)
    found = Worst("loss", worst, "east")
    metrics = RoundMetrics(1, 5, 0.1, figures, loss, lr, links, {"east": 1}, found)
    line = strictly(json.dumps(metrics.to_json(), allow_nan=False))
    assert figures.keys() <= line.keys() and line["worst"]["edge"] == "east"
    fields: dict[str, Any] = {
        "algorithm": "a", "model": "m", "parameters": 1, "devices": 1, "edges": 1, "rounds": 1,
        "steps": 1, "figures": figures, "worst": found, "best": {"round": 1, "loss": loss},
        "wall_s": lr, "steps_per_s": loss, "model_sha256": "0", "bytes": links,
        "float32": links, "messages": links, "faults": {},
    }  # fmt: skip
    strictly(json.dumps(Summary(**fields).to_json(), allow_nan=False))
