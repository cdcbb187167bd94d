"""What a node's data are like: counts and moments, found in one pass over them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from hierfl.errors import DataError
from hierfl.learning.data import Data, Targets
from hierfl.learning.prepare import features
from hierfl.learning.samples import Batch, Read, Samples, drawing
from hierfl.protocol.facts import LONGEST_NAME, MOST_LABELS, Facts, Moments

log = logging.getLogger(__name__)

LOOKED_AT = 4096
"""Of samples that are read one by one, how many at most are looked at for moments."""


def survey(data: Data, samples: Samples, targets: Targets, moments: bool) -> Facts:
    """Return the facts about samples.

    Args:
        data: what they are part of.
        samples: all that count, not empty.
        targets: how their targets are taken.
        moments: whether the inputs' moments are asked for.

    Raises:
        DataError: inputs are not finite, or targets are not what they should be.
    """
    look = _Look(data, targets, moments)
    known = _known_targets(samples) if targets == "classes" else None
    looked = samples
    if samples.reads:
        if known is not None or targets == "none":
            every = torch.linspace(
                0, len(samples) - 1, min(LOOKED_AT if moments else 1, len(samples))
            )
            looked = samples.take(every.round().long())
        if len(looked) > LOOKED_AT:
            log.info("reading all %d samples once, to see what they are like", len(looked))
    with drawing(0, user_code=samples.reads):
        start = 0
        for batch in looked.chunks():
            look.at(batch, looked, start)
            start += len(look.inputs_of(batch))
    if known is not None:
        look.labels = set(np.unique(_classes(known).numpy()).tolist())
    return look.facts(len(samples), len(samples) / len(looked))


def labels_of(samples: Samples) -> np.ndarray:
    """Return the classes of all samples, int64 [n].

    Raises:
        DataError: they have none.
    """
    known = _known_targets(samples)
    if known is None:
        with drawing(0, user_code=samples.reads):
            parts = [_parts(batch)[1] for batch in samples.chunks()]
        if any(part is None for part in parts):
            raise DataError("samples have no targets to be shared out by")
        known = torch.cat([part for part in parts if part is not None])
    classes = _classes(known)
    if classes.ndim != 1:
        raise DataError(f"targets of shape {tuple(classes.shape[1:])} are no classes of samples")
    return np.asarray(classes.numpy())


def number_by(names: Sequence[str], labels: Sequence[int] | Sequence[str]) -> Any:
    """Return what turns a node's own classes into all nodes' classes, int64.

    Args:
        names: of the node's classes; empty where they are numbered alike everywhere.
        labels: of all nodes' classes.
    """
    if not names:
        return lambda targets: targets if targets.dtype == torch.int64 else targets.long()
    places = {name: i for i, name in enumerate(labels)}
    table = torch.tensor([places.get(name, -1) for name in names])
    return lambda targets: table[targets.long()]


@dataclass
class _Look:
    """What has been seen so far."""

    data: Data
    kind: Targets
    moments: bool
    shape: tuple[int, ...] | None = None
    dtype: str = ""
    target_shape: tuple[int, ...] | None = None
    highest: int | None = None
    inputs: Moments | None = None
    targets: Moments | None = None
    labels: set[int] | None = None
    seen: bool = False

    @staticmethod
    def inputs_of(batch: Batch) -> Any:
        inputs = _parts(batch)[0]
        return inputs if inputs is not None else next(iter(batch.values()))

    def at(self, batch: Batch, samples: Samples, start: int) -> None:
        inputs, targets = _parts(batch)
        if inputs is not None:
            self._at_inputs(inputs, samples, start)
        if targets is not None and self.kind != "none":
            self._at_targets(targets, samples, start)
        elif self.kind in ("classes", "values"):
            raise DataError(
                "samples have no targets to learn",
                "A sample is (input, target); for inputs alone there is task: reconstruction.",
            )
        self.seen = True

    def _at_inputs(self, inputs: torch.Tensor, samples: Samples, start: int) -> None:
        shape, dtype = tuple(inputs.shape[1:]), str(inputs.dtype).removeprefix("torch.")
        if self.seen and (shape, dtype) != (self.shape, self.dtype):
            before = f"{self.dtype} {self.shape}"
            raise DataError(f"inputs {dtype} {shape} from sample {start} on, {before} before")
        self.shape, self.dtype = shape, dtype
        if 0 in shape:
            raise DataError(f"there is nothing in an input: its shape is {shape}")
        if inputs.is_floating_point():
            self._refuse_not_finite(inputs, samples, start)
        elif self._are_tokens(shape, dtype):
            highest = int(inputs.max()) if inputs.numel() else 0
            self.highest = max(highest, self.highest or 0)
        if self.moments and inputs.numel() and not inputs.is_complex():
            found = Moments.of(features(inputs))
            self.inputs = found if self.inputs is None else self.inputs + found

    def _at_targets(self, targets: torch.Tensor, samples: Samples, start: int) -> None:
        self.target_shape = tuple(targets.shape[1:])
        kind = self.kind
        if kind == "auto":
            kind = "values" if targets.is_floating_point() else "classes"
        if kind == "values":
            values = targets.to(torch.float64).flatten(1) if targets.ndim > 1 else targets[:, None]
            if not torch.isfinite(values).all():
                sample = start + int((~torch.isfinite(values)).any(1).nonzero()[0])
                raise DataError(f"the target of {samples.name_of(sample)} is not finite")
            found = Moments.of(values.double().numpy())
            self.targets = found if self.targets is None else self.targets + found
            return
        classes = np.unique(_classes(targets, samples, start).numpy()).tolist()
        self.labels = (self.labels or set()) | set(classes)
        if len(self.labels) > MOST_LABELS:
            raise DataError(f"targets have more than {MOST_LABELS} different values")

    def _are_tokens(self, shape: tuple[int, ...], dtype: str) -> bool:
        """Return whether integers stay integers: they do where nothing is to standardise them."""
        return not self.moments and (dtype == "int64" or (dtype == "uint8" and len(shape) < 2))

    def _refuse_not_finite(self, inputs: torch.Tensor, samples: Samples, start: int) -> None:
        if torch.isfinite(inputs).all():
            return
        place = (~torch.isfinite(inputs)).nonzero()[0].tolist()
        value = inputs[tuple(place)].item()
        column = ""
        if len(place) == 2 and self.data.columns:
            column = f", column {self.data.columns[place[1]]}"
        elif len(place) > 1:
            column = f", at {tuple(place[1:])}"
        name = samples.name_of(start + place[0])
        raise DataError(f"the input of {name}{column} is {value}")

    def facts(self, examples: int, scale: float) -> Facts:
        names = self.data.labels
        _refuse_names(self.data, self.shape)
        classes = sorted(self.labels or ())
        if names is not None and classes and classes[-1] >= len(names):
            raise DataError(f"there are {len(names)} names of classes, and a target {classes[-1]}")
        labels: Any = classes if names is None else sorted({str(names[i]) for i in classes})
        return Facts(
            examples, self.shape, self.dtype if self.shape is not None else "",
            tuple(self.data.columns), tuple(labels), self.highest, self.target_shape,
            _scaled(self.inputs, scale), _scaled(self.targets, scale),
        )  # fmt: skip


def _refuse_names(data: Data, shape: tuple[int, ...] | None) -> None:
    """Refuse names of classes or columns that are none."""
    for what, names in (("labels", data.labels or ()), ("columns", data.columns)):
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise DataError(f"{what} must be a list of texts, not {list(names)!r:.200}")
        if twins := [name for name in names if names.count(name) > 1]:
            raise DataError(f"{what} holds {twins[0]!r} twice")
        if long := [name for name in names if len(name) > LONGEST_NAME]:
            raise DataError(
                f"{what} holds a name of {len(long[0])} letters: {LONGEST_NAME} at most"
            )
    if data.columns and shape is not None and len(shape) == 1 and shape[0] != len(data.columns):
        raise DataError(f"there are {len(data.columns)} names of columns for {shape[0]} features")


def _parts(batch: Batch) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Return the inputs and the targets of a batch, where they are tensors."""
    if isinstance(batch, torch.Tensor):
        return batch, None
    if not isinstance(batch, tuple | list):
        return None, None
    inputs, targets = (*batch, None, None)[:2]
    return (
        inputs if isinstance(inputs, torch.Tensor) else None,
        targets if isinstance(targets, torch.Tensor) else None,
    )


def _known_targets(samples: Samples) -> torch.Tensor | None:
    """Return the targets as a Dataset of torchvision's knows them without reading samples."""
    if not isinstance(samples, Read):
        return None
    targets = getattr(samples.dataset, "targets", None)
    if not isinstance(targets, torch.Tensor | np.ndarray | list):
        return None
    try:
        known = torch.as_tensor(targets)
    except (TypeError, ValueError, RuntimeError):
        return None
    if known.ndim != 1 or len(known) != len(samples.dataset):
        return None
    return known[samples.indices]


def _classes(targets: torch.Tensor, samples: Samples | None = None, start: int = 0) -> torch.Tensor:
    """Return classes, int64.

    Args:
        targets: [k, ...].
        samples: what they are of, for errors.
        start: the number of the first of them there.

    Raises:
        DataError: they are not whole, not finite, or below zero.
    """
    if targets.is_floating_point():
        wrong = targets != targets.round()  # so is NaN
        if not torch.isfinite(targets).all() or wrong.any():
            raise DataError(
                "targets must be classes, whole numbers from 0 up; there is "
                + _first(targets, wrong | ~torch.isfinite(targets), samples, start),
                "For real targets there is task: regression.",
            )
    classes = targets.long()
    if classes.numel() and classes.min() < 0:
        raise DataError(
            "labels must be classes from 0 up; there is "
            + _first(classes, classes < 0, samples, start)
        )
    return classes


def _first(targets: torch.Tensor, wrong: torch.Tensor, samples: Samples | None, start: int) -> str:
    """Return the first target that is wrong, and of which sample it is."""
    place = wrong.nonzero()[0].tolist()
    said = f"{targets[tuple(place)].item():g}"
    return said if samples is None else f"{said} at {samples.name_of(start + place[0])}"


def _scaled(moments: Moments | None, scale: float) -> Moments | None:
    """Return moments as if all samples had been looked at."""
    if moments is None or scale == 1:
        return moments
    count = round(moments.count * scale)
    m2 = tuple(value * count / moments.count for value in moments.m2)
    return replace(moments, count=count, m2=m2)
