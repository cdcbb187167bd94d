"""A configuration as a flat table: dotted key -> value."""

from __future__ import annotations

from hierfl.config.schema import Config

PRIVATE = {"metrics", "notify", "security"}
"""Sections in which a password may be."""


def dotted(tree: object, path: str = "") -> dict[str, object]:
    """Return the leaves of nested mappings, and of lists of them, by dotted key.

    >>> dotted({"seed": 1, "edges": [{"name": "east", "devices": ["a", "b"]}]})
    {'seed': 1, 'edges.0.name': 'east', 'edges.0.devices': ['a', 'b']}
    """
    if isinstance(tree, dict) and tree:
        leaves: dict[str, object] = {}
        for key, value in tree.items():
            leaves |= dotted(value, f"{path}.{key}" if path else str(key))
        return leaves
    if isinstance(tree, list) and any(isinstance(item, dict | list) for item in tree):
        return dotted(dict(enumerate(tree)), path)
    return {path: tree}


def described(config: Config) -> dict[str, object]:
    """Return what a run is, by dotted key, for a program outside: without `PRIVATE`."""
    return dotted(config.model_dump(mode="json", exclude=PRIVATE))
