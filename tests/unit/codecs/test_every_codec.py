"""What holds for every codec: exact lengths, repeatable bytes, nothing unexpected let in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from hierfl.codecs import CODECS, PayloadSizes, encode, make_codec
from hierfl.errors import ConfigError, PayloadError
from tests.unit.codecs.samples import energy, flat, random, round_trip, vectors

EVERY = [
    ("float32", {}),
    ("sign", {}),
    ("factored-sign", {}),
    ("drive", {}),
    *[("qsgd", {"bits": bits, "bucket": 16}) for bits in range(2, 9)],
    ("qsgd", {}),
    *[("rounding", {"bits": bits, "bucket": 16}) for bits in (2, 3, 8)],
    *[("topk", {"fraction": fraction}) for fraction in (0.01, 0.03, 0.1, 0.5, 1)],
    ("ternary", {}),
    *[("topk-sign", {"fraction": fraction}) for fraction in (0.03, 0.1, 0.8, 1)],
    *[("topk-2bit", {"fraction": fraction}) for fraction in (0.03, 0.5, 1)],
    *[("random-k", {"fraction": fraction}) for fraction in (0.03, 0.5, 1)],
]
LARGEST = float(np.finfo(np.float32).max)

every = pytest.mark.parametrize(("name", "params"), EVERY)


@every
def test_every_length(name: str, params: dict[str, float]) -> None:
    for d in [*range(20), 511, 512, 513, 70_001]:
        codec = make_codec(name, flat(d), **params)
        assert codec.name == name
        x = random(d).standard_normal(d, dtype=np.float32)
        first, second = encode(codec, x, random(1)), encode(codec, x, random(1))
        assert first == second
        assert np.array_equal(codec.decode(first), codec.decode(memoryview(second)))
        assert energy(x - round_trip(codec, x)) <= energy(x) * (name != "float32") * 3, d


@every
def test_extreme_values(name: str, params: dict[str, float]) -> None:
    codec = make_codec(name, flat(100), **params)
    kept = math.ceil(params.get("fraction", 1) * 100)
    for value in (0.0, -0.0, 1e-45, LARGEST, -LARGEST):
        x = np.full(100, value, np.float32)
        again = round_trip(codec, x)
        if name == "drive":  # each coordinate that it decodes is made of all
            continue
        if name != "random-k":
            assert np.array_equal(again[:kept], x[:kept])
        assert np.count_nonzero(again) == kept * bool(value)
        assert set(np.abs(again)) <= {np.float32(abs(value)), np.float32(0)}


@given(vectors())
def test_float32_is_lossless(x: np.ndarray) -> None:
    assert round_trip(make_codec("float32", flat(x.size)), x).tobytes() == x.tobytes()


@every
def test_only_finite_float32_of_the_layout_is_encoded(name: str, params: dict[str, float]) -> None:
    codec = make_codec(name, flat(30), **params)
    for bad in (np.nan, np.inf, -np.inf):
        x = np.zeros(30, np.float32)
        x[17] = bad
        with pytest.raises(PayloadError, match="coordinate 17 "):
            encode(codec, x, random())
    others: list[Any] = [np.zeros(30), np.zeros(29, np.float32), np.zeros((30, 1), np.float32)]
    for other in others:
        with pytest.raises(ValueError, match=r"float32\[30\]"):
            encode(codec, other, random())


@every
def test_other_lengths_are_refused(name: str, params: dict[str, float]) -> None:
    codec = make_codec(name, flat(30), **params)
    payload = encode(codec, np.ones(30, np.float32), random())
    for bad in (b"", payload[:-1], payload + b"\0"):
        with pytest.raises(PayloadError, match=name):
            codec.decode(bad)


def replaced(payload: bytes, start: int, new: bytes) -> bytes:
    return payload[:start] + new + payload[start + len(new) :]


NAN, MINUS = b"\x00\x00\xc0\x7f", b"\x00\x00\x80\xbf"


@pytest.mark.parametrize(
    ("name", "params", "start", "new", "why"),
    [
        ("float32", {}, 8, NAN, "coordinate 2 .* not finite"),
        ("sign", {}, 0, NAN, "scale 0 .* not finite"),
        ("sign", {}, 0, MINUS, "scale 0 .* negative"),
        ("sign", {}, 6, b"\xff", "spare"),
        ("qsgd", {"bits": 3, "bucket": 8}, 8, NAN, "scale 2 .* not finite"),
        ("qsgd", {"bits": 3, "bucket": 8}, 8, MINUS, "scale 2 .* negative"),
        ("qsgd", {"bits": 3, "bucket": 8}, 14, b"\xff", "spare"),
        ("qsgd", {"bits": 3, "bucket": 8}, 12, b"\1\0\0\1\0\0\1", "beyond 3"),
        ("topk", {"fraction": 0.1}, 0, NAN, "value 0 .* not finite"),
        ("topk", {"fraction": 0.1}, 12, b"\x06", "2 positions for 3"),
        ("topk", {"fraction": 0.1}, 14, b"\xff", "spare"),
        ("ternary", {}, 0, NAN, "scale 0 .* not finite"),
        ("ternary", {}, 0, MINUS, "scale 0 .* negative"),
        ("ternary", {}, 5, b"\xf3", "byte 1 holds no ternary digits"),
        ("ternary", {}, 8, b"\x00", "spare digit"),
        ("random-k", {"fraction": 0.1}, 8, NAN, "value 0 .* not finite"),
        ("topk-sign", {"fraction": 0.1}, 0, NAN, "scale 0 .* not finite"),
        ("topk-sign", {"fraction": 0.1}, 0, MINUS, "scale 0 .* negative"),
        ("topk-sign", {"fraction": 0.1}, 4, b"\x7f", "7 positions where 3"),
        ("factored-sign", {}, 0, NAN, "scale 0 .* not finite"),
        ("factored-sign", {}, 0, MINUS, "scale 0 .* negative"),
        ("factored-sign", {}, 6, b"\xff", "spare"),
        ("drive", {}, 16, NAN, "scale 2 .* not finite"),
        ("drive", {}, 8, MINUS, "scale 0 .* negative"),
        ("drive", {}, 22, b"\xff", "spare"),
        ("topk-2bit", {"fraction": 0.1}, 4, NAN, "scale 1 .* not finite"),
        ("topk-2bit", {"fraction": 0.1}, 0, MINUS, "scale 0 .* negative"),
        ("topk-2bit", {"fraction": 0.1}, 8, b"\x7f", "7 positions where 3"),
        ("topk-2bit", {"fraction": 0.1}, 12, b"\xff", "spare"),
    ],
)
def test_malformed_payloads(
    name: str, params: dict[str, float], start: int, new: bytes, why: str
) -> None:
    codec = make_codec(name, flat(22), **params)
    payload = encode(codec, np.array([1, 2, 3] + [0] * 19, np.float32), random())
    codec.decode(payload)
    with pytest.raises(PayloadError, match=why):
        codec.decode(replaced(payload, start, new))


@pytest.mark.parametrize(
    ("name", "params", "size"),
    [
        ("ternary", {}, 4 + 200),
        ("random-k", {"fraction": 0.05}, 8 + 4 * 50),
        ("topk-sign", {"fraction": 0.1}, 4 + 27 + 3 * 13 + 13),  # 212 bits, 3 planes, signs
        ("topk-2bit", {"fraction": 0.1}, 8 + 27 + 3 * 13 + 13 + 13),
        ("drive", {}, 8 + 4 * 6 + 125),  # blocks of 512, 256, 128, 64, 32 and 8
        ("factored-sign", {}, 4 + 125),
    ],
)
def test_sizes_of_what_is_sparse(name: str, params: dict[str, float], size: int) -> None:
    assert make_codec(name, flat(1000), **params).sizes() == PayloadSizes.exactly(size)


@pytest.mark.parametrize(
    ("name", "params", "key", "why"),
    [
        ("qsdg", {}, "codec", "unknown codec 'qsdg'"),
        ("sign", {"bits": 4}, "bits", "no such parameter"),
        ("qsgd", {"bit": 4}, "bit", "no such parameter"),
        ("qsgd", {"bits": 1}, "bits", "from 2 to 8"),
        ("qsgd", {"bits": 9}, "bits", "from 2 to 8"),
        ("qsgd", {"bits": 4.0}, "bits", "integer"),
        ("qsgd", {"bits": True}, "bits", "integer"),
        ("qsgd", {"bucket": 12}, "bucket", "multiple of 8"),
        ("qsgd", {"bucket": 0}, "bucket", "integer from 8"),
        ("topk", {"fraction": 0}, "fraction", r"\(0, 1\]"),
        ("topk", {"fraction": 1.5}, "fraction", r"\(0, 1\]"),
        ("topk", {"fraction": math.nan}, "fraction", r"\(0, 1\]"),
        ("topk", {"fraction": "0.1"}, "fraction", r"\(0, 1\]"),
        ("topk-sign", {"fraction": 0}, "fraction", r"\(0, 1\]"),
        ("random-k", {"fraction": 2}, "fraction", r"\(0, 1\]"),
        ("ternary", {"bits": 2}, "bits", "no such parameter"),
    ],
)
def test_bad_names_and_parameters(name: str, params: dict[str, Any], key: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        make_codec(name, flat(10), **params)
    assert caught.value.path == key


def test_an_unknown_name_hints_at_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        make_codec("qsdg", flat(1))
    assert caught.value.hint is not None
    assert "'qsgd'" in caught.value.hint
    assert all(name in caught.value.hint for name in CODECS)
