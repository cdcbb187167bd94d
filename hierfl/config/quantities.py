"""Rates and delays as strings with units: 250kbit, 1.5mbit, 20ms."""

from __future__ import annotations

import re

_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(bit|kbit|mbit|gbit)")
_DELAY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(us|ms|s)")
_BITS = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
_MICROSECONDS = {"us": 1, "ms": 10**3, "s": 10**6}

LEAST_RATE = 1000
"""The smallest rate, in bits per second: a packet of 1500 bytes takes 12 s."""


def bits_per_second(rate: str) -> int:
    """Return a rate in bits per second.

    Raises:
        ValueError: if it is not a rate, or below 1 kbit/s.

    >>> [bits_per_second(rate) for rate in ("250kbit", "0.25mbit", "1gbit")]
    [250000, 250000, 1000000000]
    """
    match = _RATE.fullmatch(rate)
    if match is None or (bits := round(float(match[1]) * _BITS[match[2]])) < LEAST_RATE:
        raise ValueError("should be a rate of at least 1kbit, such as 250kbit, 1.5mbit or 1gbit")
    return bits


def microseconds(delay: str) -> int:
    """Return a delay in microseconds.

    Raises:
        ValueError: if it is not a delay, or longer than a minute.

    >>> [microseconds(delay) for delay in ("20ms", "0.5s", "80us")]
    [20000, 500000, 80]
    """
    match = _DELAY.fullmatch(delay)
    if match is None or (time := round(float(match[1]) * _MICROSECONDS[match[2]])) > 60 * 10**6:
        raise ValueError("should be a delay of at most a minute, such as 20ms or 0.5s")
    return time
