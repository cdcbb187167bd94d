"""What a node says about its data before models are built: counts and moments, never samples.

A child says it to its parent, which merges what its children say and passes that on; the merged
facts of all travel down with the run's first message. No torch: edges merge, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hierfl.errors import DataError, PayloadError

Float64 = npt.NDArray[np.float64]

MOST_LABELS = 1 << 16
"""Different labels, at most."""

LONGEST_NAME = 200
"""Characters of a name of a label or a column."""

_FLOATS = ("float32",)
_DTYPES = (*_FLOATS, "uint8", "int64", "bool", "complex64", "")


class FactsConflict(DataError):
    """Two nodes hold data that no model can fit both.

    Args:
        name: the node whose data are not like those of the others.
        other: a node that it differs from.
        difference: what differs, in words.
    """

    def __init__(self, name: str, other: str, difference: str) -> None:
        super().__init__(
            f"{name} and {other} hold data that cannot be learnt from together: {difference}",
            "All devices of a federation need inputs of one shape, with the same columns.",
        )
        self.name = name
        self.other = other


@dataclass(frozen=True)
class Moments:
    """The first two moments of some features, as sums that merge.

    Attributes:
        count: how many values each feature has; > 0.
        mean: of each feature.
        m2: the sum of squared deviations from the mean, of each feature.
    """

    count: int
    mean: tuple[float, ...]
    m2: tuple[float, ...]

    @classmethod
    def of(cls, values: Float64) -> Moments:
        """Return the moments of float64 [n, f], n > 0."""
        mean = values.mean(axis=0)
        m2 = np.square(values - mean).sum(axis=0)
        return cls(len(values), tuple(mean.tolist()), tuple(m2.tolist()))

    def __add__(self, other: Moments) -> Moments:
        """Merge (Chan, Golub and LeVeque 1979, Updating Formulae, equation 2.1)."""
        count = self.count + other.count
        here, there = np.array(self.mean), np.array(other.mean)
        delta = there - here
        mean = here + delta * (other.count / count)
        m2 = np.array(self.m2) + np.array(other.m2)
        m2 += np.square(delta) * (self.count * (other.count / count))
        return Moments(count, tuple(mean.tolist()), tuple(m2.tolist()))

    def deviation(self) -> Float64:
        """Return the (population's) standard deviation of each feature, float64 [f]."""
        return np.sqrt(np.array(self.m2) / self.count)


@dataclass(frozen=True)
class Facts:
    """What is known about data: of one node, or of many together.

    Attributes:
        examples: samples to train with.
        shape: of one input; None where a sample's input is not one tensor.
        dtype: of inputs: float32, uint8, int64 or bool; "" where `shape` is None.
        columns: names of the features, where they have names.
        labels: what there is among the targets, sorted: names of classes or, where classes have no
            names, integers. Empty where targets are no classes.
        highest: the largest of integer inputs, such as tokens.
        target_shape: of one target; None where samples have none.
        inputs: moments of the inputs' features; None where nobody has looked.
        targets: moments of targets that are real numbers.
    """

    examples: int
    shape: tuple[int, ...] | None = None
    dtype: str = ""
    columns: tuple[str, ...] = ()
    labels: tuple[int, ...] | tuple[str, ...] = ()
    highest: int | None = None
    target_shape: tuple[int, ...] | None = None
    inputs: Moments | None = None
    targets: Moments | None = None

    @property
    def classes(self) -> int:
        """How many classes there are: of integers, one more than the largest."""
        if self.labels and isinstance(self.labels[-1], int):
            return self.labels[-1] + 1
        return len(self.labels)

    @property
    def mean(self) -> Float64 | None:
        """The mean of each of the inputs' features, float64 [f]."""
        return None if self.inputs is None else np.array(self.inputs.mean)

    @property
    def deviation(self) -> Float64 | None:
        """The standard deviation of each of the inputs' features, float64 [f]."""
        return None if self.inputs is None else self.inputs.deviation()

    def without_samples(self) -> Facts:
        """Return what remains of data that are there to judge by, not to learn from."""
        return replace(self, examples=0, inputs=None, targets=None)

    def difference(self, other: Facts, here: str, there: str) -> str:
        """Return in words why data like these and like others cannot be learnt from together.

        Args:
            other: the others' facts.
            here: who holds data like these.
            there: who holds the others.

        Returns:
            The words; "" if they can.
        """
        if self.columns and other.columns and {*self.columns} != {*other.columns}:
            return _columns({here: self.columns, there: other.columns})
        pairs = {
            "inputs have shape": (self.shape, other.shape),
            "inputs are of type": (self.dtype, other.dtype),
            "targets have shape": (self.target_shape, other.target_shape),
            "features are as many as": (_features(self.inputs), _features(other.inputs)),
            "values to learn are as many as": (_features(self.targets), _features(other.targets)),
        }
        for text, (one, another) in pairs.items():
            if one != another and (text[:6] in ("inputs", "target") or None not in (one, another)):
                return f"{text} {_said(one)} at {here} and {_said(another)} at {there}"
        if self.columns != other.columns:
            return _columns({here: self.columns, there: other.columns})
        if not _named_alike(self.labels, other.labels):
            names = f"{self.labels[0]!r} at {here} and {other.labels[0]!r} at {there}"
            return f"classes are called like {names}"
        return ""

    def to_bytes(self) -> bytes:
        """Return it as JSON, floats exactly."""
        tree = {name: _plain(value) for name, value in vars(self).items() if value is not None}
        return json.dumps(tree, separators=(",", ":"), allow_nan=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Facts:
        """Undo `to_bytes`.

        Raises:
            PayloadError: if these are no facts.
        """
        try:
            return _checked(json.loads(data))
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
            raise PayloadError(f"facts about data are malformed: {str(error)[:200]}") from None


def merge(facts: Mapping[str, Facts]) -> Facts:
    """Return the facts of several nodes' data together; the order of names decides the bits.

    Args:
        facts: name of a node -> what it, or its subtree, holds; not empty.

    Raises:
        FactsConflict: if two cannot be merged.
    """
    first, *others = sorted(facts)
    whole = facts[first]
    for name in others:
        one = facts[name]
        if difference := one.difference(whole, name, first):
            raise FactsConflict(name, first, difference)
        whole = replace(
            whole,
            examples=whole.examples + one.examples,
            labels=tuple(sorted({*whole.labels, *one.labels})),
            highest=_either(whole.highest, one.highest, max),
            inputs=_either(whole.inputs, one.inputs, Moments.__add__),
            targets=_either(whole.targets, one.targets, Moments.__add__),
        )
        if len(whole.labels) > MOST_LABELS:
            raise FactsConflict(name, first, f"there are more than {MOST_LABELS} classes in all")
    return whole


def _either(one: Any, other: Any, both: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    return both(one, other)


def _named_alike(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Return whether classes may be the same ones: all numbers here and all words there are not."""
    if not one or not other:
        return True
    if type(one[0]) is not type(other[0]):
        return False
    if isinstance(one[0], int) or min(len(one), len(other)) < 2:
        return True
    here, there = ({label.lstrip("-").isdecimal() for label in labels} for labels in (one, other))
    return not (len(here) == len(there) == 1 and here != there)


def _said(value: object) -> str:
    return "none" if value is None else str(value)


def _features(moments: Moments | None) -> int | None:
    return None if moments is None else len(moments.mean)


def _columns(held: Mapping[str, tuple[str, ...]]) -> str:
    (here, one), (there, other) = held.items()
    for owner, names, strangers in ((there, one, other), (here, other, one)):
        if missing := [name for name in names if name not in strangers]:
            return f"the column {missing[0]!r} is missing at {owner}"
    return f"columns stand as {', '.join(one)} at {here} and as {', '.join(other)} at {there}"


def _plain(value: Any) -> Any:
    if isinstance(value, Moments):
        return {"count": value.count, "mean": value.mean, "m2": value.m2}
    return value


def _checked(tree: Any) -> Facts:
    known = set(Facts.__dataclass_fields__)
    if not isinstance(tree, dict) or not tree.keys() <= known:
        raise ValueError("unknown keys")
    labels = tuple(tree.get("labels", ()))
    if len(labels) > MOST_LABELS or not (_all(labels, _is_count) or _all(labels, _is_name)):
        raise ValueError("labels that are neither classes from 0 up nor names")
    if list(labels) != sorted(set(labels)):
        raise ValueError("labels that are not sorted")
    columns = tuple(tree.get("columns", ()))
    if not _all(columns, _is_name):
        raise ValueError("columns that are no names")
    if tree.get("dtype", "") not in _DTYPES:
        raise ValueError("an unknown type of inputs")
    highest = tree.get("highest")
    if not _is_count(tree["examples"]) or not (highest is None or type(highest) is int):
        raise ValueError("a count that is none")
    return Facts(
        tree["examples"], _shape(tree.get("shape")), tree.get("dtype", ""), columns, labels,
        highest, _shape(tree.get("target_shape")), _moments(tree.get("inputs")),
        _moments(tree.get("targets")),
    )  # fmt: skip


def _all(values: tuple[Any, ...], fits: Any) -> bool:
    return all(map(fits, values))


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_NAME


def _shape(value: Any) -> tuple[int, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > 16 or not _all(tuple(value), _is_count):
        raise ValueError("a shape that is none")
    return tuple(value)


def _moments(value: Any) -> Moments | None:
    if value is None:
        return None
    mean, m2 = (np.array(value[key], np.float64) for key in ("mean", "m2"))
    fits = mean.ndim == 1 and mean.shape == m2.shape and bool((m2 >= 0).all())
    count = value["count"]
    if not fits or not _is_count(count) or not count or not np.isfinite([mean, m2]).all():
        raise ValueError("moments that are none")
    return Moments(count, tuple(mean.tolist()), tuple(m2.tolist()))
