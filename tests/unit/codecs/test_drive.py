"""DRIVE's defining equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hierfl.codecs.drive import Drive
from hierfl.numerics.layout import Layout


def drive(d: int) -> Drive:
    return Drive(Layout(("w",), ((d,),)))


def lost(x: np.ndarray, seed: int = 0) -> float:
    codec = drive(x.size)
    again = codec.decode(codec.encode(x, np.random.default_rng(seed)))
    return float(((x.astype(np.float64) - again) ** 2).sum())


@given(
    hnp.arrays(np.float32, st.integers(0, 40), elements=st.floats(-1e6, 1e6, width=32)),
    st.integers(0, 2**32),
)
def test_it_loses_what_it_states(x: np.ndarray, seed: int) -> None:
    codec = drive(x.size)
    diagonal = codec._diagonal(int(np.random.default_rng(seed).bit_generator.random_raw()))
    expected, start = 0.0, 0
    for block in codec._blocks:
        n = block.stop - block.start
        hadamard = np.ones((1, 1))
        while hadamard.shape[0] < n:
            hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
        part = x[block].astype(np.float64)
        rotated = hadamard @ (diagonal[block] * part) / math.sqrt(n)
        expected += (part**2).sum() - np.abs(rotated).sum() ** 2 / n
        assert block.start == start and n & (n - 1) == 0
        start = block.stop
    assert start == x.size
    energy = float((x.astype(np.float64) ** 2).sum())
    assert lost(x, seed) == pytest.approx(expected, rel=1e-4, abs=1e-5 * energy + 1e-80)


def test_it_loses_a_third_of_any_vector_and_all_payloads_say_the_same_on_average() -> None:
    draw, d = np.random.default_rng(0), 1 << 12
    sparse = np.zeros(d, np.float32)
    sparse[draw.choice(d, 40, replace=False)] = draw.standard_normal(40)
    heavy = draw.standard_cauchy(d).astype(np.float32)
    for x in (sparse, heavy, draw.standard_normal(d, np.float32)):
        energy = float((x.astype(np.float64) ** 2).sum())
        assert np.mean([lost(x, seed) for seed in range(5)]) < 0.42 * energy
    assert lost(sparse) > 0.1 * float((sparse**2).sum())


def test_a_coordinate_that_stands_alone_in_its_block_is_kept() -> None:
    x = np.zeros(64, np.float32)
    x[37] = -5
    assert lost(x) == 0
