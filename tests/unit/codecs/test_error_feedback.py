from __future__ import annotations

import numpy as np
import pytest

from hierfl.codecs import encode, make_codec
from tests.unit.codecs.samples import energy, flat, random


@pytest.mark.parametrize(
    ("name", "params", "most"),
    [("ternary", {}, 1), ("topk-sign", {"fraction": 0.1}, 30), ("random-k", {"fraction": 0.3}, 6)],
)
def test_a_kept_residual_stays_bounded(name: str, params: dict[str, float], most: float) -> None:
    """So it does where `topk` keeps as many; scaled up to be unbiased, random-k's would not."""
    codec, draw, residual = make_codec(name, flat(1000), **params), random(), np.zeros(1000, "f4")
    for _ in range(100):
        meant = residual + draw.standard_normal(1000, dtype=np.float32)
        residual = meant - codec.decode(encode(codec, meant, draw))
    assert energy(residual) < most * 1000
    if name == "random-k":
        for _ in range(100):
            meant = residual + draw.standard_normal(1000, dtype=np.float32)
            residual = meant - codec.decode(encode(codec, meant, draw)) / np.float32(0.3)
        assert energy(residual) > 1e6 * most * 1000
