"""JSON as other programs read it: without NaN and Infinity, which are no JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def strict(value: Any) -> Any:
    """Return plain data as JSON can hold it: what is no finite number is null.

    >>> strict({"loss": float("nan"), "rounds": [1, float("inf")]})
    {'loss': None, 'rounds': [1, None]}
    """
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: strict(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [strict(inner) for inner in value]
    return value


def dumps(value: Any, indent: int | None = None) -> str:
    """Return plain data as strict JSON."""
    return json.dumps(strict(value), indent=indent, allow_nan=False)
