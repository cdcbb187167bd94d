"""Where each named tensor of a model lies in its flat vector."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import accumulate
from typing import Any

from numpy.typing import NDArray

from hierfl.errors import PayloadError

LONGEST = 1 << 22
"""Characters of a layout's text: far more than that of any model that a device can train."""

MOST_AXES, MOST = 64, 1 << 48
"""Of a tensor: its axes, and the coordinates that it may have."""


@dataclass(frozen=True)
class Layout:
    """Tensors laid one after another, each in C order, in a vector of `d` coordinates.

    Args:
        names: one name per tensor, all different.
        shapes: one shape per tensor; () is a scalar.

    Raises:
        ValueError: a name is repeated, or names and shapes do not match.

    >>> layout = Layout(("weight", "bias"), ((2, 3), (2,)))
    >>> layout.d, layout.sizes, layout.offsets
    (8, (6, 2), (0, 6))
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.shapes):
            raise ValueError(f"{len(self.names)} names for {len(self.shapes)} shapes")
        if len(set(self.names)) != len(self.names):
            raise ValueError("two tensors have the same name")
        if any(extent < 0 for shape in self.shapes for extent in shape):
            raise ValueError("a shape has a negative extent")

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Coordinates of each tensor."""
        return tuple(math.prod(shape) for shape in self.shapes)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """First coordinate of each tensor."""
        return tuple(accumulate(self.sizes, initial=0))[:-1]

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Where each tensor lies."""
        return tuple(
            slice(offset, offset + size)
            for offset, size in zip(self.offsets, self.sizes, strict=True)
        )

    @cached_property
    def d(self) -> int:
        """Coordinates of the whole vector."""
        return sum(self.sizes)

    def views(self, flat: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The tensors of `flat` (shape [d], any dtype) by name, sharing its memory.

        Raises:
            ValueError: `flat` has another shape.
        """
        if flat.shape != (self.d,):
            raise ValueError(f"a vector of shape {flat.shape} where ({self.d},) is laid out")
        return {
            name: flat[tensor].reshape(shape)
            for name, shape, tensor in zip(self.names, self.shapes, self.slices, strict=True)
        }

    def to_json(self) -> str:
        """Canonical text: equal layouts, and only these, give equal text."""
        tensors = list(zip(self.names, self.shapes, strict=True))
        return json.dumps(tensors, separators=(",", ":"), ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str) -> Layout:
        """The layout that `to_json` wrote.

        Raises:
            PayloadError: `text` is anything else.
        """
        if len(text) > LONGEST:
            raise PayloadError(f"a model layout of {len(text)} characters")
        try:
            tensors = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise PayloadError(f"a model layout is not JSON: {type(error).__name__}") from None
        if not isinstance(tensors, list) or not all(map(_is_tensor, tensors)):
            raise PayloadError(
                "a model layout must be a list of [name, [extent, ...]] pairs of a size that exists"
            )
        try:
            return cls(
                tuple(name for name, _ in tensors), tuple(tuple(shape) for _, shape in tensors)
            )
        except ValueError as error:
            raise PayloadError(f"a model layout is inconsistent: {error}") from None

    def fingerprint(self) -> str:
        """SHA-256 of the canonical text, in hexadecimal."""
        return sha256(self.to_json().encode("ascii")).hexdigest()


def _is_tensor(item: object) -> bool:
    match item:
        case [str(), list(shape)]:
            if len(shape) > MOST_AXES or not all(type(extent) is int for extent in shape):
                return False
            return all(extent <= MOST for extent in shape) and math.prod(shape) <= MOST
    return False
