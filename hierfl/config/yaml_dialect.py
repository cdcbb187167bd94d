"""The YAML dialect of topologies: YAML 1.1 with two corrections and two limits.

`1e-3` is a number, when read and when written, and a duplicate key is an error. What is nested too
deeply, or is too much once aliases are written out, is refused before it takes time or memory.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

import yaml

_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$")

DEEPEST = 50
"""Lists and mappings within one another."""

MOST_VALUES = 1_000_000
"""Keys and values, each alias counted as what it stands for."""


class Loader(yaml.SafeLoader):
    """Reads the dialect."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._values: dict[int, int] = {}  # id of a node that is complete -> its values

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node, within the limits."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        start, alias = event.start_mark, isinstance(event, yaml.AliasEvent)
        self._depth += 1
        if self._depth > DEEPEST:
            _refuse(f"more than {DEEPEST} lists and mappings within one another", start)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if alias and id(node) not in self._values:
            _refuse("an alias of what it is in", start)
        if node is not None and not alias:
            self._values[id(node)] = 1 + sum(self._values[id(inner)] for inner in _inner(node))
            if self._values[id(node)] > MOST_VALUES:
                _refuse(f"more than {MOST_VALUES:,} values, aliases written out", start)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Raise an error for a duplicate key."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    _refuse(f"the key {key.value!r} is given twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _inner(node: yaml.Node) -> list[yaml.Node]:
    match node:
        case yaml.SequenceNode():
            return list(node.value)
        case yaml.MappingNode():
            return [inner for pair in node.value for inner in pair]
    return []


def _refuse(problem: str, mark: yaml.Mark) -> NoReturn:
    raise yaml.constructor.ConstructorError(None, None, problem, mark)


class Dumper(yaml.SafeDumper):
    """Writes the dialect: a string that would be read as a number is quoted."""


for _dialect in (Loader, Dumper):
    _dialect.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+.0123456789"))
