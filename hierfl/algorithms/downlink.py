"""The way down: the cloud's change goes through a codec, and what the codec lost is kept.

In round t:  change' = change + residual,  payload = encode(change'),
residual = change' - decode(payload); every node adds decode(payload) to its base. This is error
feedback (Seide et al. 2014; Karimireddy et al. 2019, arXiv 1901.09847) at the cloud.
"""

from __future__ import annotations

import numpy as np

from hierfl.algorithms.base import State
from hierfl.numerics.quantize import Codec


def initial_state(d: int) -> State:
    """Return the residual before the first round: float32[d] of zeros."""
    return {"residual": np.zeros(d, np.float32)}


def send(
    codec: Codec, state: State, change: np.ndarray, draw: np.random.Generator
) -> tuple[bytes, np.ndarray]:
    """Encode a change, float32[d]; return the payload and what every node will decode."""
    meant = change + state["residual"]
    payload = codec.encode(meant, draw)
    decoded = codec.decode(payload)
    np.subtract(meant, decoded, out=state["residual"])
    return payload, decoded
