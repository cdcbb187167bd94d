"""The bytes on the wire, frozen: nodes of different versions and processors must agree on them.

The files in tests/golden are made from plain arithmetic, from no generator whose stream may change
(random-k's is the raw stream of PCG64, which does not). After a deliberate change of a format, run
this file as a script to write them anew.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hierfl.codecs import AnyCodec, encode, make_codec
from hierfl.numerics import sparse, tally
from hierfl.numerics.layout import Layout
from hierfl.numerics.signs import descend, pack, unpack
from hierfl.numerics.tally import Tally
from hierfl.numerics.vote import VoteCounter

GOLDEN = Path(__file__).parents[2] / "golden"
D = 1003
LAYOUT = Layout(("weight", "bias", "scale"), ((25, 40), (2,), ()))


def wave(step: int) -> np.ndarray:
    """float32[D], multiples of 1/16 in [-4, 4), some of them 0 and -0.0."""
    i = np.arange(D, dtype=np.int64)
    x = ((i * i * (2 * step + 3) + 7 * i + 11 * step) % 128 - 64).astype(np.float32) / 16
    x[5::97] = -0.0
    return x


def levels() -> np.ndarray:
    """float32[D] on the levels of 4 bit qsgd, so that nothing is left to chance."""
    i = np.arange(D)
    return ((i * i + 3 * i) % 15 - 7).astype(np.float32)


def majority(voters: int) -> tuple[np.ndarray, np.ndarray | None]:
    votes = VoteCounter(D)
    for voter in range(voters):
        votes.add(pack(wave(voter)))
    return votes.majority()


def odd_majority() -> bytes:
    return majority(5)[0].tobytes()


def even_majority() -> bytes:
    bits, ties = majority(6)
    assert ties is not None
    return bits.tobytes() + ties.tobytes()


def tally_of(steps: int, held: bool) -> bytes:
    total = Tally(D)
    for step in range(steps):
        total.add(pack(wave(step)), pack(wave(step + 50)) if held else None)
    return total.encode()


def descended() -> bytes:
    w = np.divide(wave(1), 3, dtype=np.float32)
    for step in range(7):
        descend(w, pack(wave(step)), 0.002, pack(wave(step + 50)) if step % 2 else None)
    return bytes(w.astype("<f4").data)


def sparse_of(share: float) -> bytes:
    meant = np.abs(wave(3)) >= 4 * (1 - share)
    return sparse.encode(meant, wave(3)[meant] < 0)


def coded(codec: AnyCodec, x: np.ndarray) -> Callable[[], bytes]:
    return lambda: encode(codec, x, np.random.default_rng(0))


CODED = {
    "float32": (make_codec("float32", LAYOUT), wave(2)),
    "sign": (make_codec("sign", LAYOUT), wave(2)),
    "qsgd-4": (make_codec("qsgd", LAYOUT, bits=4, bucket=512), levels()),
    "rounding-3": (make_codec("rounding", LAYOUT, bits=3, bucket=64), wave(2)),
    "topk-bits": (make_codec("topk", LAYOUT, fraction=0.1), wave(2)),
    "topk-list": (make_codec("topk", LAYOUT, fraction=0.01), wave(2)),
    "ternary": (make_codec("ternary", LAYOUT), wave(2)),
    "topk-sign": (make_codec("topk-sign", LAYOUT, fraction=0.1), wave(2)),
    "random-k": (make_codec("random-k", LAYOUT, fraction=0.1), wave(2)),
}
PAYLOADS: dict[str, Callable[[], bytes]] = {
    "signs": lambda: pack(wave(0)).tobytes(),
    "majority-odd": odd_majority,
    "majority-even": even_majority,
    "tally-15": lambda: tally_of(15, False),
    "tally-held-15": lambda: tally_of(15, True),
    "descended": descended,
    "sparse": lambda: sparse_of(0.1),
    "sparse-most": lambda: sparse_of(0.8),
    "layout": lambda: LAYOUT.to_json().encode(),
    **{name: coded(codec, x) for name, (codec, x) in CODED.items()},
}


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.bin").read_bytes()


@pytest.mark.parametrize("name", PAYLOADS)
def test_encoded_bytes_are_those_of_old(name: str) -> None:
    assert PAYLOADS[name]() == golden(name)


def test_no_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.bin")} == set(PAYLOADS)


def test_old_signs_are_read() -> None:
    assert np.array_equal(unpack(golden("signs"), D), np.where(wave(0) < 0, -1, 1))


@pytest.mark.parametrize("held", [False, True])
def test_old_tallies_are_read(held: bool) -> None:
    expected = np.zeros(D, np.int64)
    for step in range(15):
        moves = ~(wave(step + 50) < 0) if held else True
        expected += np.where(wave(step) < 0, -1, 1) * moves
    payload = golden("tally-held-15" if held else "tally-15")
    assert np.array_equal(tally.decode(payload, D, 15), expected)


@pytest.mark.parametrize(("name", "share"), [("sparse", 0.1), ("sparse-most", 0.8)])
def test_old_sparse_signs_are_read(name: str, share: float) -> None:
    expected = np.flatnonzero(np.abs(wave(3)) >= 4 * (1 - share))
    positions, negative = sparse.decode(golden(name), D, expected.size)
    assert np.array_equal(positions, expected)
    assert np.array_equal(negative, wave(3)[expected] < 0)


@pytest.mark.parametrize("name", ["float32", "qsgd-4"])
def test_old_exact_payloads_are_read(name: str) -> None:
    codec, x = CODED[name]
    assert codec.decode(golden(name)) == pytest.approx(x, rel=2e-7, abs=0)


@pytest.mark.parametrize("name", ["topk-bits", "topk-list"])
def test_old_topk_is_read(name: str) -> None:
    codec, x = CODED[name]
    again = codec.decode(golden(name))
    assert np.array_equal(again[again != 0], x[again != 0])
    assert np.count_nonzero(again) == (101 if name == "topk-bits" else 11)


def test_old_scaled_signs_are_read() -> None:
    codec, x = CODED["sign"]
    for name, part in LAYOUT.views(codec.decode(golden("sign"))).items():
        original = LAYOUT.views(x)[name]
        scale = np.float32(sum(map(abs, original.ravel().tolist())) / original.size)
        assert np.array_equal(part, np.where(original < 0, -scale, scale))


def test_old_ternary_is_read() -> None:
    codec, x = CODED["ternary"]
    for name, part in LAYOUT.views(codec.decode(golden("ternary"))).items():
        original, kept = LAYOUT.views(x)[name], part != 0
        scale = np.float32(sum(map(abs, original[kept].tolist())) / np.count_nonzero(kept))
        assert np.array_equal(kept, np.abs(original) > scale / 2)
        assert np.array_equal(part[kept], np.where(original[kept] < 0, -scale, scale))


def test_old_signs_of_the_largest_are_read() -> None:
    codec, x = CODED["topk-sign"]
    again = codec.decode(golden("topk-sign"))
    kept = again != 0
    assert np.count_nonzero(kept) == 101
    assert np.abs(x[kept]).min() >= np.abs(x[~kept]).max()
    assert np.array_equal(np.sign(again[kept]), np.sign(x[kept]))


def test_old_random_places_are_found() -> None:
    codec, x = CODED["random-k"]
    payload = golden("random-k")
    again = codec.decode(payload)
    assert np.array_equal(again[again != 0], x[again != 0])
    values = np.frombuffer(payload, "<f4", offset=8)
    assert values.size == 101 and np.array_equal(again[again != 0], values[values != 0])


if __name__ == "__main__":
    for name, make in PAYLOADS.items():
        (GOLDEN / f"{name}.bin").write_bytes(make())
