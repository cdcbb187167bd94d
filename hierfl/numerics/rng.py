"""Random draws that depend on nothing but their key, so that whatever is redone comes out alike."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, node: str, round_: int, step: int, purpose: str) -> np.random.Generator:
    """Return the generator for one purpose of one node in one step.

    Args:
        seed: the federation's seed.
        node: the node's name.
        round_: the round, from 1.
        step: the step within the round, from 1; 0 for what happens once a round.
        purpose: what is drawn, so that two draws of one step are independent.

    >>> [int(generator(1, "east", 3, 2, "tie").integers(100)) for again in range(2)]
    [88, 88]
    """
    text = hashlib.sha256(f"{node}\0{purpose}".encode()).digest()
    who = int.from_bytes(text[:8], "little")
    return np.random.Generator(np.random.PCG64([seed, who, round_, step]))


def random_bits(draw: np.random.Generator, size: int) -> np.ndarray:
    """Return `size` random bytes as uint8 (the generator's raw stream, the same in any NumPy)."""
    words = draw.bit_generator.random_raw((size + 7) // 8)
    return np.asarray(words, dtype="<u8").view(np.uint8)[:size]
