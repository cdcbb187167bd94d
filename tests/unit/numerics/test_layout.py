from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierfl.errors import PayloadError
from hierfl.numerics.layout import Layout

shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
layouts = st.dictionaries(st.text(max_size=5), shapes, max_size=5).map(
    lambda tensors: Layout(tuple(tensors), tuple(tensors.values()))
)


@given(layouts)
def test_views_cover_the_vector_in_order_without_a_copy(layout: Layout) -> None:
    flat = np.arange(layout.d, dtype=np.float32)
    views = layout.views(flat)
    assert tuple(views) == layout.names
    assert tuple(view.shape for view in views.values()) == layout.shapes
    joined = [value for view in views.values() for value in view.ravel().tolist()]
    assert joined == flat.tolist()
    for view in views.values():
        view[...] = -1
    assert (flat == -1).all()


@given(layouts)
def test_offsets_and_sizes_agree_with_the_shapes(layout: Layout) -> None:
    position = 0
    for shape, size, offset in zip(layout.shapes, layout.sizes, layout.offsets, strict=True):
        assert (offset, size) == (position, math.prod(shape))
        position += size
    assert layout.d == position


@given(layouts)
def test_json_round_trip(layout: Layout) -> None:
    again = Layout.from_json(layout.to_json())
    assert again == layout
    assert again.fingerprint() == layout.fingerprint()


def test_fingerprint_tells_names_order_and_shapes_apart() -> None:
    variants = [
        Layout(("a", "b"), ((2, 3), (1,))),
        Layout(("b", "a"), ((2, 3), (1,))),
        Layout(("a", "b"), ((3, 2), (1,))),
        Layout(("a", "b"), ((2, 3), ())),
        Layout(("a",), ((2, 3),)),
    ]
    prints = {layout.fingerprint() for layout in variants}
    assert len(prints) == len(variants)
    assert all(len(text) == 64 for text in prints)


def test_fingerprint_is_frozen() -> None:
    # SHA-256 of the text [["w",[2,3]],["b",[]]]
    assert Layout(("w", "b"), ((2, 3), ())).to_json() == '[["w",[2,3]],["b",[]]]'
    assert Layout(("w", "b"), ((2, 3), ())).fingerprint() == (
        "6509122636475b29775c1c0c1c203dc610a58ebb7c576ee75f50d00c9f8e0593"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{}",
        "3",
        '[["a"]]',
        '[["a",[1],2]]',
        "[[1,[1]]]",
        '[["a",[1.0]]]',
        '[["a",[true]]]',
        '[["a",[-1]]]',
        '[["a",3]]',
        '[["a",[1]],["a",[2]]]',
        "[" * 100_000,
    ],
)
def test_malformed_json_is_a_payload_error(text: str) -> None:
    with pytest.raises(PayloadError, match="layout"):
        Layout.from_json(text)


def test_inconsistent_layouts_and_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match="names"):
        Layout(("a", "b"), ((1,),))
    with pytest.raises(ValueError, match="same name"):
        Layout(("a", "a"), ((1,), (1,)))
    with pytest.raises(ValueError, match="shape"):
        Layout(("a",), ((3,),)).views(np.zeros(4))


@pytest.mark.parametrize(
    "text",
    [
        '[["a",[' + "9" * 4000 + "," + "9" * 4000 + "]]]",
        '[["a",[' + "9" * 5000 + "]]]",
        '[["a",[4611686018427387904,4611686018427387904]]]',
        '[["a",[' + ",".join(["1"] * 1000) + "]]]",
        "[" * 200_000 + "]" * 200_000,
        "[" + ",".join(f'["t{i}",[1]]' for i in range(500_000)) + "]",
    ],
    ids=["4,000 digits", "5,000 digits", "too large", "too many axes", "nested", "too long"],
)
def test_a_layout_of_no_model_is_refused_early_in_one_line(text: str) -> None:
    with pytest.raises(PayloadError) as caught:
        Layout.from_json(text)
    assert len(str(caught.value)) < 200 and "\n" not in str(caught.value)
