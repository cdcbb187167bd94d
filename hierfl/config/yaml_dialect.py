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

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Construct a value; raise an error for one that is not what its tag says."""
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            if "integer string conversion" in str(error):
                _refuse("a number has too many digits", node.start_mark)
            _refuse(f"a value that cannot be: {error}", node.start_mark)
        except (AttributeError, KeyError, TypeError, IndexError):
            tag = node.tag.removeprefix("tag:yaml.org,2002:")
            _refuse(f"a value that is no {tag}", node.start_mark)

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


_PLAIN = (
    (r"could not determine a constructor for the tag '(.*)'", "YAML tags mean nothing here: {0}"),
    (r"expected (.*), but got '<stream end>'", "expected {0}, but the text ends"),
    (r"expected (.*), but got '(.*)'", "expected {0}, but found {1!r}"),
    (r"found undefined alias '(.*)'", "there is no &{0} for the alias *{0}"),
    (r"sequence entries are not allowed here", "a '-' cannot be here: check the indentation"),
    (r"found character '\\t' that cannot start any token", "a tab: indent with spaces"),
    (r"found character '(.*)' that cannot start any token",
     "{0} cannot begin a value: put the value in quotes"),
    (r"could not find expected ':'", "expected ':' after a key"),
    (r"expected <block end>, but found '.*'", "the indentation does not fit the lines above"),
    (r"found unexpected end of stream", "the text ends within quotes"),
    (r"expected a single document in the stream", "there is more than one YAML document"),
    (r"but found another document", "there is more than one YAML document"),
    (r"found unhashable key", "a list or a mapping cannot be a key"),
    (r"found duplicate anchor.*", "an anchor is given twice"),
)  # fmt: skip
"""What PyYAML says of frequent mistakes, and what is said instead."""


def plain_words(problem: str) -> str:
    """Return a problem of PyYAML's in plain words.

    >>> plain_words("found undefined alias 'names'")
    'there is no &names for the alias *names'
    """
    problem = problem.replace("tag:yaml.org,2002:", "!!")  # as the file has it
    for pattern, words in _PLAIN:
        if match := re.fullmatch(pattern, problem):
            return words.format(*match.groups())
    return problem or "is not valid YAML"


class Dumper(yaml.SafeDumper):
    """Writes the dialect: a string that would be read as a number is quoted."""


for _dialect in (Loader, Dumper):
    _dialect.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+.0123456789"))
