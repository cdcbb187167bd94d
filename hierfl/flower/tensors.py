"""An ArrayRecord as one flat vector, which codecs encode, and the arrays that are left as they are.

Left as they are: integers and flags, and the running statistics of batch norm, whose variance must
stay positive.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray

from hierfl.errors import PayloadError
from hierfl.numerics.buffers import Vector
from hierfl.numerics.layout import Layout

WHOLE = ("running_mean", "running_var")
"""How the names of floating-point arrays end that are sent as they are."""

FLOATS = ("float16", "float32", "float64")


@dataclass(frozen=True)
class Tensors:
    """The arrays of a model: name, shape and dtype of each, in the record's order.

    >>> record = ArrayRecord([np.ones((2, 3), np.float32), np.array(7)])
    >>> tensors = Tensors.of(record)
    >>> tensors.layout.d, tensors.whole
    (6, ('1',))
    """

    items: tuple[tuple[str, tuple[int, ...], str], ...]

    @classmethod
    def of(cls, record: ArrayRecord) -> Tensors:
        """Return those of a record."""
        return cls(tuple((key, tuple(each.shape), each.dtype) for key, each in record.items()))

    @cached_property
    def layout(self) -> Layout:
        """Where the compressed arrays lie in the flat vector."""
        chosen = [(name, shape) for name, shape, dtype in self.items if _is_vector(name, dtype)]
        return Layout(tuple(name for name, _ in chosen), tuple(shape for _, shape in chosen))

    @cached_property
    def whole(self) -> tuple[str, ...]:
        """The names of the arrays that are left as they are."""
        return tuple(name for name, _, dtype in self.items if not _is_vector(name, dtype))

    def flatten(self, record: ArrayRecord) -> NDArray[np.float64]:
        """Return the compressed arrays of a record as one float64[d].

        Raises:
            ValueError: the record has other arrays, or other shapes.
        """
        self.check(record)
        flat = np.empty(self.layout.d, np.float64)
        for name, view in self.layout.views(flat).items():
            view[...] = record[name].numpy()
        return flat

    def rest(self, record: ArrayRecord) -> ArrayRecord:
        """Return a record's arrays that are left as they are, in the dtypes of these tensors.

        A strategy's mean of integers is a float64, which is rounded.
        """
        kept = {}
        for name, _, dtype in self.items:
            if name in self.whole:
                array = record[name].numpy()
                kept[name] = Array(np.asarray(_as(array, dtype)))
        return ArrayRecord(kept)

    def join(self, flat: NDArray[Any], rest: ArrayRecord) -> ArrayRecord:
        """Undo `flatten` and `rest`, in the dtypes of these tensors.

        Raises:
            PayloadError: an array is missing in `rest`.
        """
        views = self.layout.views(flat)
        joined = {}
        for name, _, dtype in self.items:
            if name in views:
                joined[name] = Array(views[name].astype(dtype))
            elif name in rest:
                joined[name] = rest[name]
            else:
                raise PayloadError(f"the array {name!r} is missing")
        return ArrayRecord(joined)

    def check(self, record: ArrayRecord) -> None:
        """Raise ValueError if a record has other arrays, or other shapes."""
        ours = {name: shape for name, shape, _ in self.items}
        theirs = {name: tuple(each.shape) for name, each in record.items()}
        if ours == theirs:
            return
        for name in {**ours, **theirs}:
            if ours.get(name) != theirs.get(name):
                raise ValueError(
                    f"the model has {_said(name, ours)}, and {_said(name, theirs)} was returned"
                )

    def to_json(self) -> str:
        """Return it as text, which `from_json` reads."""
        return json.dumps(self.items)

    @classmethod
    def from_json(cls, text: str) -> Tensors:
        """Undo `to_json`."""
        return cls(tuple((name, tuple(shape), dtype) for name, shape, dtype in json.loads(text)))


def add(reference: Vector, change: Vector) -> None:
    """Add a decoded change to a reference, in place: exactly rounded, so alike on all nodes."""
    np.add(reference, change, out=reference)


def _as(array: NDArray[Any], dtype: str) -> NDArray[Any]:
    if np.issubdtype(dtype, np.integer) and not np.issubdtype(array.dtype, np.integer):
        array = np.rint(array)
    return array.astype(dtype)


def _is_vector(name: str, dtype: str) -> bool:
    return dtype in FLOATS and not name.endswith(WHOLE)


def _said(name: str, shapes: Mapping[str, tuple[int, ...]]) -> str:
    return f"{name!r} of shape {shapes[name]}" if name in shapes else f"no {name!r}"
