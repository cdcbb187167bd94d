"""Vectors and round trips that the tests of all codecs share."""

from __future__ import annotations

import warnings

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hierfl.codecs import AnyCodec, encode
from hierfl.numerics.layout import Layout

numbers = st.floats(-(2.0**60), 2.0**60, width=32)


def flat(d: int) -> Layout:
    return Layout(("w",), ((d,),))


def tensors(parts: list[np.ndarray]) -> Layout:
    """The layout in which each part is a tensor."""
    names = tuple(f"t{i}" for i in range(len(parts)))
    return Layout(names, tuple((part.size,) for part in parts))


def vectors(low: int = 1, high: int = 90) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.float32, st.integers(low, high), elements=numbers)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def energy(x: np.ndarray) -> float:
    return float(np.sum(x.astype(np.float64) ** 2))


def round_trip(codec: AnyCodec, x: np.ndarray, seed: int = 0) -> np.ndarray:
    payload = encode(codec, x, random(seed))
    low, high = codec.sizes()
    assert type(payload) is bytes and low <= len(payload) <= high
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = codec.decode(payload)
    assert again.dtype == np.float32 and again.shape == x.shape
    assert np.isfinite(again).all()
    return again
