"""What a grid is made of: keys of a topology, and the values of each."""

from __future__ import annotations

from collections.abc import Sequence

from hierfl.cli.lists import split_list
from hierfl.errors import ConfigError

Axes = dict[str, list[str]]
"""By key of the topology, its values."""

EXPECTED = "key=value,value,..."


def axes_of(texts: Sequence[str], option: str) -> Axes:
    """Return the keys and values of texts `key=value,value,...`.

    >>> axes_of(["algorithm.lr=0.1,0.2", "edges=[{name: a, devices: 1}]"], "--set")
    {'algorithm.lr': ['0.1', '0.2'], 'edges': ['[{name: a, devices: 1}]']}

    Raises:
        ConfigError: a text is no `key=value,...`, or a key stands in two.
    """
    axes: Axes = {}
    for text in texts:
        key, equals, values = text.partition("=")
        if not (key and equals):
            raise ConfigError(f"{option} {text}", f"expected {EXPECTED}")
        if key in axes:
            raise ConfigError(f"{option} {text}", f"{key} is in the grid already")
        axes[key] = split_list(values, f"{option} {text}", EXPECTED)
    return axes
