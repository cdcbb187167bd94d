"""The reference of a topology's keys, made from the configuration itself.

python -m hierfl.config.reference > docs/topology.md
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hierfl.config.json_schema import json_schema

HEAD = """# The topology file

A topology is one YAML file. `edges` is the only key that it needs. This page is made from the
configuration (`python -m hierfl.config.reference`), as is the JSON schema that `hierfl schema`
prints: an editor with a YAML language server completes and checks a file that begins with

    # yaml-language-server: $schema=hierfl.schema.json

`--set KEY=VALUE` replaces a key, whose name is dotted: `--set algorithm.rounds=5`,
`--set edges.east.address=10.0.0.2:4701`.
"""

ROOT = "Keys of the file"


def reference() -> str:
    """Return the page, in Markdown."""
    schema = json_schema()
    kinds = schema["$defs"]
    parts = [HEAD, f"## {ROOT}\n", *_section(schema)]
    for name, kind in kinds.items():
        whole = next((one for one in kind.get("anyOf", ()) if "properties" in one), kind)
        if "properties" in whole:
            parts += [f"## {name}\n", *_section(whole)]
    return "\n".join(parts)


def _section(kind: dict[str, Any]) -> Iterator[str]:
    if words := kind.get("description"):
        yield f"{words}\n"
    yield "| key | value | default |\n|---|---|---|"
    required = kind.get("required", [])
    for key, value in kind["properties"].items():
        default = "required" if key in required else _default(value)
        yield f"| `{key}` | {_words(value).replace('|', chr(92) + '|')} | {default} |"
    yield ""


def _default(value: dict[str, Any]) -> str:
    if "default" not in value or isinstance(value["default"], dict):
        return ""
    return f"`{json.dumps(value['default'])}`"


def _words(value: dict[str, Any]) -> str:
    """Return what a value may be."""
    if "$ref" in value:
        return _link(value["$ref"])
    if several := value.get("anyOf") or value.get("oneOf"):
        return " or ".join(dict.fromkeys(_words(one) for one in several))
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    kind = value.get("type")
    if kind == "array":
        return f"list of {_words(value['items'])}" if "items" in value else "list"
    if kind == "object":
        return "mapping"
    return f"{NAMES.get(str(kind), 'any')}{_range(value)}"


NAMES = {
    "integer": "integer",
    "number": "number",
    "string": "text",
    "boolean": "`true` or `false`",
    "null": "`null`",
}


def _range(value: dict[str, Any]) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {value[key]}" for key, sign in signs.items() if key in value]
    return f" {' and '.join(limits)}" if limits else ""


def _link(reference: str) -> str:
    name = reference.rpartition("/")[2]
    return f"[{name}](#{name.lower()})"


if __name__ == "__main__":
    print(reference(), end="")
