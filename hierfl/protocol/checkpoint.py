"""A node's state as of a round's start, as bytes with a checksum."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from hierfl.errors import CheckpointError

_MAGIC = b"hierfl checkpoint 2\n"
_DIGEST = hashlib.sha256().digest_size

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]
T = TypeVar("T")


@dataclass(frozen=True)
class Checkpoint:
    """What a node must know to redo a round.

    Attributes:
        run: the run's identifier.
        round: the round that is about to begin.
        arrays: by name.
        facts: whatever else, as JSON.
        config: what of the configuration all nodes of the run agree on, as JSON.
    """

    run: str
    round: int
    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Json]
    config: Mapping[str, Json] = field(default_factory=dict)

    def array(
        self, name: str, dtype: np.dtype | type, shape: tuple[int, ...] | None = None
    ) -> np.ndarray:
        """Return a copy of an array.

        Args:
            name: its name.
            dtype: what it must be of.
            shape: what it must have; None: one axis, of any length.

        Raises:
            CheckpointError: if there is none such.
        """
        return checked_array(self.arrays.get(name), name, dtype, shape).copy()

    def arrays_like(self, prefix: str, like: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return copies of the arrays PREFIX.NAME for the names of `like`; see `checked_like`."""
        own = {name: self.arrays.get(f"{prefix}.{name}") for name in like}
        return {name: array.copy() for name, array in checked_like(own, like).items()}

    def fact(self, name: str, kind: type[T]) -> T:
        """Return a fact of a kind; true and false are no int.

        Raises:
            CheckpointError: if there is none such.
        """
        return checked_fact(self.facts, name, kind)

    def counts(self, name: str) -> list[int]:
        """Return a fact that is a list of integers.

        Raises:
            CheckpointError: if it is something else.
        """
        return checked_counts(self.facts, name)


def checked_array(
    array: np.ndarray | None, name: str, dtype: np.dtype | type, shape: tuple[int, ...] | None
) -> np.ndarray:
    """Return an array that is there, of a dtype and a shape (None: one axis, of any length).

    Raises:
        CheckpointError: if it is another, or None.
    """
    if array is None:
        raise CheckpointError(f"it has no array {name!r}")
    fits = array.ndim == 1 if shape is None else array.shape == shape
    if array.dtype != dtype or not fits:
        raise CheckpointError(f"its array {name!r} is {array.dtype}{list(array.shape)}")
    return array


def checked_like(
    arrays: Mapping[str, np.ndarray | None], like: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the arrays of the names of `like`, each of the same dtype and number of axes.

    Raises:
        CheckpointError: if one is absent or differs.
    """
    found = {}
    for name, example in like.items():
        array = arrays.get(name)
        alike = array is not None and array.ndim == example.ndim
        shape = array.shape if array is not None and alike else example.shape
        found[name] = checked_array(array, name, example.dtype, shape)
    return found


def checked_fact(facts: Mapping[str, Json], name: str, kind: type[T]) -> T:
    """Return the fact of a name that is of a kind; true and false are no int.

    Raises:
        CheckpointError: if there is none such.
    """
    value = facts.get(name)
    if type(value) is not kind:
        raise CheckpointError(f"its fact {name!r} is {value!r:.60}, no {kind.__name__}")
    return value


def checked_counts(facts: Mapping[str, Json], name: str) -> list[int]:
    """Return the fact of a name that is a list of integers.

    Raises:
        CheckpointError: if it is something else.
    """
    values = checked_fact(facts, name, list)
    if not all(type(value) is int for value in values):
        raise CheckpointError(f"its fact {name!r} is not a list of integers")
    return values


def to_bytes(checkpoint: Checkpoint) -> bytes:
    """Return a checkpoint as the bytes of its file: a mark, a SHA-256, facts, safetensors."""
    head = json.dumps(
        {
            "run": checkpoint.run,
            "round": checkpoint.round,
            "config": dict(checkpoint.config),
            "facts": dict(checkpoint.facts),
        }
    )
    arrays = {name: np.asarray(array, order="C") for name, array in checkpoint.arrays.items()}
    text = head.encode()
    body = len(text).to_bytes(8, "little") + text + save(arrays)
    return _MAGIC + hashlib.sha256(body).digest() + body


def from_bytes(data: bytes) -> Checkpoint:
    """Undo `to_bytes`.

    Raises:
        CheckpointError: if the bytes are not exactly what was written.
    """
    start = len(_MAGIC) + _DIGEST
    body = data[start:]
    if data[: len(_MAGIC)] != _MAGIC or hashlib.sha256(body).digest() != data[len(_MAGIC) : start]:
        raise CheckpointError("it is damaged (its checksum is wrong)")
    try:
        size = int.from_bytes(body[:8], "little")
        head = json.loads(body[8 : 8 + size])
        kinds = {"run": str, "round": int, "config": dict, "facts": dict}
        run, round_, config, facts = (head[name] for name in kinds)
        if [type(head[name]) for name in kinds] != list(kinds.values()):
            raise TypeError("its head is of other types")
        return Checkpoint(run, round_, load(body[8 + size :]), facts, config)
    except (ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        raise CheckpointError(f"it is damaged: {error}") from error
