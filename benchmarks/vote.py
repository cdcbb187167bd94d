"""The vote on packed bits against unpacking every vector and summing.

The sum is taken twice: in int16, which holds any number of voters, and in uint8, the quickest
that NumPy offers, which ends at 255 of them. All three find the majority and where half of the
voters stand against half, for the same ballots in the same run; the ratios are what carries over
to other machines.

Run it with `python -m benchmarks.vote`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hierfl.numerics.vote import VoteCounter

VOTERS = (5, 20, 100)
COORDINATES = (100_000, 1_000_000, 16_000_000)


Packed = NDArray[np.uint8]


def unpack_and_sum(ballots: Sequence[bytes], d: int, dtype: type) -> tuple[Packed, Packed]:
    """The packed majority and the ties, by way of one integer a coordinate."""
    negatives: NDArray[Any] = np.zeros(d, dtype)
    for ballot in ballots:
        packed = np.frombuffer(ballot, np.uint8)
        negatives += np.unpackbits(packed, count=d, bitorder="little")
    half = len(ballots) // 2
    majority = np.packbits(negatives > half, bitorder="little")
    if len(ballots) % 2:
        return majority, np.zeros_like(majority)
    return majority, np.packbits(negatives == half, bitorder="little")


def packed_majority(votes: VoteCounter, ballots: Sequence[bytes]) -> tuple[Packed, Packed]:
    """The same, counted in bit planes."""
    votes.clear()
    for ballot in ballots:
        votes.add(ballot)
    majority, ties = votes.majority()
    return majority, np.zeros_like(majority) if ties is None else ties


def compare(voters: int, d: int, seconds: float = 1.0) -> list[float]:
    """Least seconds for the sum in int16, in uint8 and for the packed majority, by turns."""
    generator = np.random.default_rng([voters, d])
    ballots = [generator.bytes(d // 8) for _ in range(voters)]
    votes = VoteCounter(d)
    ways: list[Callable[[], tuple[Packed, Packed]]] = [
        lambda: unpack_and_sum(ballots, d, np.int16),
        lambda: unpack_and_sum(ballots, d, np.uint8),
        lambda: packed_majority(votes, ballots),
    ]
    wide, narrow, packed = (way() for way in ways)
    if not (np.array_equal(wide, packed) and np.array_equal(narrow, packed)):
        raise AssertionError(f"the majorities of {voters} voters differ")
    least, end = [float("inf")] * len(ways), time.perf_counter() + seconds
    while float("inf") in least or time.perf_counter() < end:
        for i, way in enumerate(ways):
            start = time.perf_counter()
            way()
            least[i] = min(least[i], time.perf_counter() - start)
    return least


def main() -> None:
    """Print one line per size."""
    print("                       milliseconds                  times as fast as")
    print("voters  coordinates    int16    uint8   packed        int16    uint8")
    for d in COORDINATES:
        for voters in VOTERS:
            wide, narrow, packed = compare(voters, d)
            print(
                f"{voters:6}  {d:11,}  {wide * 1e3:7.2f}  {narrow * 1e3:7.2f}  {packed * 1e3:7.2f}"
                f"      {wide / packed:7.1f}  {narrow / packed:7.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
