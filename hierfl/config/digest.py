"""The fingerprint of what all nodes must agree on, key by key, so that a difference has a name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hierfl.config.schema import Config

SECTIONS = {
    "seed", "task", "model", "data", "algorithm", "weights", "report_loss", "downlink", "uplink",
    "channel", "privacy",
}  # fmt: skip
"""What a digest holds whole, but for `data.root`; of the tree it holds the nodes' names."""

LENGTH = 12
"""Hexadecimal digits of a key's own fingerprint."""

LONGEST_NATURE = 120
"""Characters of a tensor's name, and of its nature, that are shown."""

MOST_NAMED = 6
"""How many keys an explanation names."""


@dataclass(frozen=True)
class Digest:
    """The fingerprints of the keys that all nodes must have in common.

    Attributes:
        keys: a key, dotted as for `--set` -> the SHA-256 of its value, cut to `LENGTH` digits.
            `edges` is the order of the edges, `edges.NAME` are an edge's devices, in their order.
    """

    keys: Mapping[str, str]

    @property
    def hex(self) -> str:
        """One SHA-256 of all keys, in hex."""
        return hashlib.sha256(self.to_text().encode()).hexdigest()

    def to_text(self) -> str:
        """Return it as text that `from_text` reads; equal digests have equal texts."""
        return json.dumps(dict(self.keys), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Digest | None:
        """Return the digest that a text holds, or None if it holds none."""
        try:
            keys = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(keys, dict) or not all(type(value) is str for value in keys.values()):
            return None
        return cls(keys)

    def differing(self, other: Digest) -> tuple[str, ...]:
        """Return the keys whose values differ, or that one of the two has not, sorted.

        >>> Digest({"seed": "6b", "edges": "9f"}).differing(Digest({"seed": "d4", "edges": "9f"}))
        ('seed',)
        """
        every = self.keys.keys() | other.keys.keys()
        return tuple(sorted(key for key in every if self.keys.get(key) != other.keys.get(key)))


def agreed(config: Config) -> dict[str, Any]:
    """Return the keys on which all nodes must agree, dotted, with their values as JSON has them.

    They do not say where nodes are (addresses, `data.root`, certificates), nor how long they wait.
    """
    tree = config.model_dump(mode="json", include=SECTIONS)
    del tree["data"]["root"]
    if config.app is not None:  # where its folder is, and a node's own configuration, may differ
        tree["app"] = config.app.model_dump(mode="json", exclude={"path", "node_config"})
    names = config.tree()
    edges = {f"edges.{edge}": list(devices) for edge, devices in names.items()}
    return {**dict(_leaves("", tree)), "edges": list(names), **edges}


def digest(config: Config) -> Digest:
    """Return the digest of a resolved configuration."""
    return Digest({key: _fingerprint(value) for key, value in agreed(config).items()})


def explain(theirs: str, ours: str) -> str:
    """Return which keys two digests' texts differ in, for a person; "" if that cannot be said."""
    one, other = Digest.from_text(theirs), Digest.from_text(ours)
    if one is None or other is None:
        return ""
    keys = one.differing(other)
    known = [key for key in keys if key in other.keys][:MOST_NAMED]
    more = len(keys) - len(known)
    return ", ".join([*known, *([f"{more} more"] if more else [])])


def contrast(theirs: str, ours: str, there: str) -> str:
    """Return in what two models differ, whose fingerprints these are; "" if that is unknown.

    Args:
        theirs: fingerprint of a child's model.
        ours: of this node's.
        there: the child's name.

    >>> one = Digest({"0.bias": "float32 [2], trained"}).to_text()
    >>> contrast(one, Digest({"0.bias": "float32 [3], trained"}).to_text(), "pi-1")
    '0.bias is float32 [2], trained at pi-1 and float32 [3], trained here'
    """
    one, other = Digest.from_text(theirs), Digest.from_text(ours)
    if one is None or other is None or not (keys := one.differing(other)):
        return ""
    first, *more = sorted(keys, key=lambda key: (key.startswith("("), key))
    here = other.keys.get(first, "absent")[:LONGEST_NATURE]
    said = one.keys.get(first, "absent")[:LONGEST_NATURE]
    more = [key for key in more if not key.startswith("(")]
    rest = f"; {len(more)} more differ" if more else ""
    return f"{first[:LONGEST_NATURE]} is {said} at {there} and {here} here{rest}"


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield all keys below a mapping that hold no mapping, with their values."""
    if not isinstance(value, dict) or not value:
        yield path, value
        return
    for key, below in value.items():
        yield from _leaves(f"{path}.{key}" if path else key, below)


def _fingerprint(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:LENGTH]
