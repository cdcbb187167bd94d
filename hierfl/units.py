"""Bytes, seconds and counts as people read them."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size(count: float) -> str:
    """Bytes in decimal units, with three digits.

    >>> [size(count) for count in (0, 999, 10366, 37_300_000, 999_999)]
    ['0 B', '999 B', '10.4 kB', '37.3 MB', '1.00 MB']
    """
    unit = 0
    while unit + 1 < len(_UNITS) and round(count, 1 if unit else 0) >= 999.5:
        count /= 1000
        unit += 1
    digits = 0 if unit == 0 or count >= 99.95 else 1 if count >= 9.995 else 2
    return f"{count:.{digits}f} {_UNITS[unit]}"


def duration(seconds: float) -> str:
    """Whole seconds as minutes:seconds, or hours:minutes:seconds.

    >>> [duration(seconds) for seconds in (0.2, 59.6, 754, 3723)]
    ['0:00', '1:00', '12:34', '1:02:03']
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def timing(seconds: float) -> str:
    """A time, from microseconds to hours, with three digits or in minutes.

    >>> timing(0.00123), timing(4.56), timing(3700)
    ('1.23 ms', '4.56 s', '1:01:40')
    """
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 100 else duration(seconds)


def plural(count: int, word: str) -> str:
    """A count and its word.

    >>> plural(1, "edge"), plural(1200, "edge")
    ('1 edge', '1,200 edges')
    """
    return f"{count:,} {word}{'' if count == 1 else 's'}"
