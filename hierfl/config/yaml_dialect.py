"""The YAML dialect of topologies: YAML 1.1 with two corrections.

`1e-3` is a number, when read and when written, and a duplicate key is an error.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$")


class Loader(yaml.SafeLoader):
    """Reads the dialect."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Raise an error for a duplicate key."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    problem = f"the key {key.value!r} is given twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


class Dumper(yaml.SafeDumper):
    """Writes the dialect: a string that would be read as a number is quoted."""


for _dialect in (Loader, Dumper):
    _dialect.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+.0123456789"))
