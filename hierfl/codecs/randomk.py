"""Some coordinates in full precision, at places that both ends draw from one seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hierfl.codecs.base import PayloadSizes, RandomizedCodec
from hierfl.codecs.payload_checks import FLOAT, exactly, finite, floats
from hierfl.codecs.topk import how_many
from hierfl.numerics.buffers import BytesLike, Vector
from hierfl.numerics.layout import Layout

SEED = 8  # bytes


class RandomK(RandomizedCodec):
    """Keeps k = ceil(fraction * d) coordinates, each one of the d with the same chance k/d.

        E ||x - decode(encode(x))||^2 = (1 - k/d) ||x||^2    and never more than ||x||^2

    (Stich et al. 2018, arXiv 1809.07599, Lemma A.1). What is kept is not scaled up by d/k: that
    would make the expectation x, and the error (d/k - 1) ||x||^2. Here a residual is kept, which
    sends later what was left out; scaled up, it would come twice, and for k < d/2 the residual
    would grow from round to round.

    Which are kept: the d places, as a ring that begins at a random one, are cut into k stretches of
    equal length (or one more), and one place is drawn from each. So only k numbers are drawn.

    Payload: the 8 bytes of the seed, drawn by the encoder; then the k values as float32, in the
    order of their coordinates.

    Args:
        layout: of the vectors to encode.
        fraction: share of the coordinates that is kept, in (0, 1].

    Raises:
        ConfigError: `fraction` is anything else.

    >>> codec = RandomK(Layout(("w",), ((5,),)), fraction=0.4)
    >>> payload = codec.encode(np.array([1, 2, 3, 4, 5], np.float32), np.random.default_rng(0))
    >>> len(payload), codec.decode(payload)
    (16, array([0., 0., 3., 4., 0.], dtype=float32))
    """

    name = "random-k"
    contracts = True
    unbiased = False

    def __init__(self, layout: Layout, *, fraction: float = 0.1) -> None:
        self._d = layout.d
        self._k = how_many(fraction, layout.d)

    def encode(self, x: Vector, generator: np.random.Generator) -> bytes:
        """See `RandomizedCodec.encode`; draws the seed."""
        finite(x, self._d)
        seed = int(generator.bit_generator.random_raw())
        return seed.to_bytes(SEED, "little") + x[self._positions(seed)].astype(FLOAT).tobytes()

    def decode(self, payload: BytesLike) -> Vector:
        """See `Codec.decode`."""
        data = exactly(payload, self.sizes().most, self.name)
        x = np.zeros(self._d, np.float32)
        seed = int.from_bytes(data[:SEED].tobytes(), "little")
        x[self._positions(seed)] = floats(data[SEED:], "value")
        return x

    def sizes(self) -> PayloadSizes:
        """See `Codec.sizes`."""
        return PayloadSizes.exactly(SEED + 4 * self._k)

    def _positions(self, seed: int) -> NDArray[np.int64]:
        """Return the k places that a seed names, ascending: the same in any NumPy."""
        if not self._k:
            return np.zeros(0, np.int64)
        raw = np.random.PCG64(seed).random_raw(self._k + 1)
        parts = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53  # in [0, 1), exactly
        bounds = np.arange(self._k + 1, dtype=np.int64) * self._d // self._k
        start = int(parts[-1] * self._d)
        within = (parts[:-1] * np.diff(bounds)).astype(np.int64)
        return np.sort((bounds[:-1] + within + start) % self._d)
