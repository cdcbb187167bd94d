"""Random draws that only the holder of a secret can repeat, for what must stay unknown to a peer.

The generators of `rng` depend on nothing but public things: whoever knows a run's seed can draw the
same, and take noise out again. These are the keystream of a cipher (ChaCha20, RFC 8439) whose key
is BLAKE2b of the context, keyed by the secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

SECRET = 32
"""Bytes of a secret."""


class SecretNoise:
    """Draws that depend on a secret and on a context, and come out alike for the same two.

    Args:
        secret: `SECRET` random bytes.
        context: what the draws are for; all but the last are of fixed lengths.

    Attributes:
        key: names secret and context; nobody learns the secret from it.
    """

    def __init__(self, secret: bytes, context: Iterable[bytes | memoryview]) -> None:
        digest = hashlib.blake2b(key=secret, digest_size=48)
        for part in context:
            digest.update(part)
        whole = digest.digest()
        self.key = whole[32:]
        self._cipher = Cipher(ChaCha20(whole[:32], bytes(16)), mode=None).encryptor()

    def uniform(self, count: int) -> np.ndarray:
        """Return float64[count], uniform in [0, 1), in multiples of 2^-53."""
        words = np.frombuffer(self._cipher.update(bytes(8 * count)), "<u8")
        return (words >> np.uint64(11)) * 2.0**-53

    def normal(self, count: int) -> np.ndarray:
        """Return float64[count], standard normal (Box and Muller 1958)."""
        half = (count + 1) // 2
        radius = np.sqrt(-2 * np.log1p(-self.uniform(half)))
        angle = 2 * np.pi * self.uniform(half)
        return np.concatenate((radius * np.cos(angle), radius * np.sin(angle)))[:count]

    def integer(self) -> int:
        """Return an integer in [0, 2^53)."""
        return int(self.uniform(1)[0] * 2.0**53)
