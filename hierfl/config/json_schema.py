"""The JSON schema of a topology file, by which editors complete and check one."""

from __future__ import annotations

from typing import Any

from hierfl.config.schema import Config

KEYWORDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
}
"""What pydantic leaves of a range of its own types, in JSON schema's words."""


def json_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) of what `load_config` takes, short forms included."""
    schema: dict[str, Any] = _in_words(Config.model_json_schema())
    kinds, keys = schema["$defs"], schema["properties"]
    kinds["Dataset"] = _or("string", kinds["Dataset"])
    kinds["Edge"]["properties"]["devices"] = {
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": 9999},
            kinds["Edge"]["properties"]["devices"],
        ]
    }
    keys["model"]["anyOf"] = [{"type": "string"}, {"type": "object"}]
    keys["app"] = _or("string", keys["app"])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _or(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [{"type": kind}, schema]}


def _in_words(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            KEYWORDS.get(key, key) if isinstance(inner, int | float) else key: _in_words(inner)
            for key, inner in value.items()
        }
    return [_in_words(item) for item in value] if isinstance(value, list) else value
