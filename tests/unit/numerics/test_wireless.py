from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierfl.numerics.wireless import Air, reach

devices = st.lists(
    st.tuples(st.floats(0.001, 5), st.just(0.0) | st.floats(1e-30, 1e6)), min_size=1, max_size=12
)


@given(devices, st.integers(0, 14))
def test_those_of_least_reach_send_bits(drawn: list[tuple[float, float]], count: int) -> None:
    gains, peaks = np.array(drawn).T
    s = reach(gains, peaks)
    digital = Air("analog-digital", digital=count).schedule(gains, peaks)
    assert np.count_nonzero(digital) == min(count, len(drawn))
    assert s[digital].max(initial=0) <= s[~digital].min(initial=math.inf)
    assert not Air("analog", digital=count).schedule(gains, peaks).any()
    assert Air("digital", digital=count).schedule(gains, peaks).all()


@given(devices)
def test_reach_is_infinite_where_nothing_is_sent(drawn: list[tuple[float, float]]) -> None:
    gains, peaks = np.array(drawn).T
    for s, gain, peak in zip(reach(gains, peaks), gains, peaks, strict=True):
        assert s == (gain / peak if peak > 0 else math.inf)


def test_a_reach_beyond_all_floats_is_infinite_without_a_warning() -> None:
    with np.errstate(all="raise"):
        assert reach(np.array([1e10]), np.array([1e-308])) == math.inf


@pytest.mark.parametrize(("snr_db", "amplitude"), [(0, 1), (20, 0.1), (-40, 100), (math.inf, 0)])
def test_the_worst_device_in_the_air_sets_the_noise(snr_db: float, amplitude: float) -> None:
    gains, peaks = np.array([1.0, 0.5, 2.0]), np.array([1.0, 2.0, 1.0])
    noise = Air("analog", snr_db=snr_db).noise(gains, peaks)
    assert noise == pytest.approx(amplitude / 0.25)
    assert Air("analog", snr_db=snr_db).noise(gains, np.zeros(3)) == 0
