"""What nodes say about their data: merged as if all of it were at one place."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from hierfl.errors import PayloadError
from hierfl.protocol.facts import Facts, FactsConflict, Moments, merge

VALUES = st.floats(-1e6, 1e6, allow_nan=False)
TABLES = st.integers(1, 4).flatmap(
    lambda f: st.lists(
        st.integers(1, 8).flatmap(lambda n: npst.arrays(np.float64, (n, f), elements=VALUES)),
        min_size=1,
        max_size=6,
    )
)


def facts(table: np.ndarray, **more: object) -> Facts:
    shape = (table.shape[1],)
    return Facts(len(table), shape, "float32", inputs=Moments.of(table), **more)


@given(TABLES)
def test_moments_of_parts_are_those_of_the_whole(tables) -> None:
    whole = np.concatenate(tables)
    merged = merge({f"pi-{i}": facts(table) for i, table in enumerate(tables)})
    assert merged.examples == len(whole)
    assert merged.inputs is not None and merged.inputs.count == len(whole)
    scale = 1e-9 * (1 + np.abs(whole).max())
    np.testing.assert_allclose(merged.mean, whole.mean(axis=0), rtol=1e-9, atol=scale)
    np.testing.assert_allclose(merged.deviation, whole.std(axis=0), rtol=1e-6, atol=1e-3 * scale)


@given(TABLES)
def test_the_order_in_which_nodes_are_told_changes_no_bit(tables) -> None:
    told = {f"pi-{i}": facts(table) for i, table in enumerate(tables)}
    assert merge(told) == merge(dict(reversed(told.items())))


def test_large_values_with_small_deviations_keep_them() -> None:
    rng = np.random.default_rng(0)
    table = 1e8 + rng.normal(0, 0.01, (1000, 1))
    merged = merge({f"{i}": facts(part) for i, part in enumerate(np.split(table, 10))})
    np.testing.assert_allclose(merged.deviation, table.std(axis=0), rtol=1e-6)


def test_labels_are_the_union() -> None:
    one, other = (Facts(3, (2,), "float32", labels=labels) for labels in ((0, 2), (1,)))
    merged = merge({"a": one, "b": other})
    assert (merged.labels, merged.classes) == ((0, 1, 2), 3)
    one, other = (Facts(3, (2,), "float32", labels=labels) for labels in (("cat",), ("ant", "cat")))
    merged = merge({"a": one, "b": other})
    assert (merged.labels, merged.classes) == (("ant", "cat"), 2)


def test_who_holds_data_to_judge_by_adds_classes_and_no_samples() -> None:
    device = facts(np.ones((5, 2)), labels=(0, 1))
    cloud = facts(np.full((9, 2), 100.0), labels=(2,)).without_samples()
    merged = merge({"cloud": cloud, "east": device})
    assert (merged.examples, merged.labels) == (5, (0, 1, 2))
    assert merged.inputs == device.inputs


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": (3,)}, r"inputs have shape \(3,\) at pi-2 and \(2,\) at pi-1"),
        ({"dtype": "int64"}, "inputs are of type int64 at pi-2 and float32 at pi-1"),
        ({"columns": ("x",)}, "column 'y' is missing at pi-2"),
        ({"columns": ("x", "y", "z")}, "column 'z' is missing at pi-1"),
        ({"columns": ("y", "x")}, "stand as y, x at pi-2 and as x, y at pi-1"),
        ({"target_shape": ()}, r"targets have shape \(\) at pi-2 and none at pi-1"),
        ({"labels": ("a",)}, "called like 'a' at pi-2 and 0 at pi-1"),
    ],
)
def test_what_cannot_be_merged_names_both(change, said) -> None:
    common = {"shape": (2,), "dtype": "float32", "columns": ("x", "y"), "labels": (0,)}
    with pytest.raises(FactsConflict, match=said) as caught:
        merge({"pi-2": Facts(1, **{**common, **change}), "pi-1": Facts(1, **common)})
    assert (caught.value.name, caught.value.other) == ("pi-2", "pi-1")
    assert "pi-2 and pi-1 hold data" in str(caught.value)


MOMENTS = st.integers(1, 3).flatmap(
    lambda f: st.builds(
        Moments,
        st.integers(1, 2**40),
        st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * f),
        st.tuples(*[st.floats(0, 1e300)] * f),
    )
)
LABELS = st.one_of(
    st.sets(st.integers(0, 2**40), max_size=5), st.sets(st.text(max_size=20), max_size=5)
).map(lambda labels: tuple(sorted(labels)))
FACTS = st.builds(
    Facts,
    st.integers(0, 2**40),
    st.none() | st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.sampled_from(["float32", "uint8", "int64", "bool", ""]),
    st.lists(st.text(max_size=20), max_size=3).map(tuple),
    LABELS,
    st.none() | st.integers(0, 2**40),
    st.none() | st.tuples(st.integers(0, 9)),
    st.none() | MOMENTS,
    st.none() | MOMENTS,
)


@given(FACTS)
def test_the_wire_keeps_every_bit(one: Facts) -> None:
    assert Facts.from_bytes(one.to_bytes()) == one


@given(FACTS, st.data())
def test_no_bytes_of_a_peer_raise_anything_else(one: Facts, data) -> None:
    text = bytearray(one.to_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    with suppress(PayloadError):
        Facts.from_bytes(bytes(text))


@pytest.mark.parametrize(
    "change",
    [
        {"examples": -1}, {"examples": True}, {"examples": 1.5}, {"examples": None},
        {"shape": [-1]}, {"shape": "ab"}, {"shape": [1] * 17}, {"dtype": "object"},
        {"labels": [1, 0]}, {"labels": [0, "a"]}, {"labels": [-1]}, {"labels": ["x" * 201]},
        {"labels": list(range(65537))}, {"columns": [3]}, {"highest": 0.5}, {"more": 1},
        {"inputs": {"count": 0, "mean": [0.0], "m2": [0.0]}},
        {"inputs": {"count": 1, "mean": [0.0], "m2": [-1.0]}},
        {"inputs": {"count": 1, "mean": [1e999], "m2": [1.0]}},
        {"inputs": {"count": 1, "mean": [0.0, 0.0], "m2": [0.0]}},
        {"inputs": {"count": 1, "mean": [[0.0]], "m2": [[0.0]]}},
        {"inputs": {"count": 1}}, {"inputs": 3},
    ],
)  # fmt: skip
def test_what_is_no_facts_is_refused(change) -> None:
    tree = {**json.loads(Facts(1, (2,), "float32").to_bytes()), **change}
    with pytest.raises(PayloadError):
        Facts.from_bytes(json.dumps(tree).encode())


def test_an_edge_needs_no_torch_for_it() -> None:
    code = "import sys, hierfl, hierfl.protocol.facts; hierfl.Facts; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
