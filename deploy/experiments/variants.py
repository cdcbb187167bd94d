"""Algorithms with settings of their own, as a command line names them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hierfl.cli.lists import split_list
from hierfl.config.sections import Algorithm
from hierfl.errors import ConfigError

_VARIANT = re.compile(r"([^{}]+)(?:\{(.*)\})?", re.DOTALL)


@dataclass(frozen=True)
class Variant:
    """An algorithm, and what is set for it alone.

    Attributes:
        label: as it was asked for: NAME or NAME{KEY=VALUE,...}.
        sets: what it means as `key=value` texts of a topology.
    """

    label: str
    sets: tuple[str, ...]


def variant(label: str) -> Variant:
    """Return what NAME{KEY=VALUE,...} means.

    A key of the section `algorithm` (lr, edge_steps, rounds, ...) is that one, a key with a point
    in it one of the topology, and any other one of the algorithm's options.

    >>> variant("ef-fedavg{local_steps=30,lr=0.2,downlink.codec=qsgd}").sets[1:]
    ('algorithm.options.local_steps=30', 'algorithm.lr=0.2', 'downlink.codec=qsgd')
    >>> variant("hier-sgd").sets
    ('algorithm.name=hier-sgd',)

    Raises:
        ConfigError: the text is of another form.
    """
    found = _VARIANT.fullmatch(label)
    if found is None:
        raise ConfigError(label, "expected NAME or NAME{KEY=VALUE,...}")
    name, inside = found.groups()
    sets = [f"algorithm.name={name}"]
    for text in split_list(inside, label) if inside else ():
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise ConfigError(label, f"{text!r} is no KEY=VALUE")
        sets.append(f"{_path(key)}={value}")
    return Variant(label, tuple(sets))


def _path(key: str) -> str:
    if "." in key:
        return key
    return f"algorithm.{key}" if key in Algorithm.model_fields else f"algorithm.options.{key}"
