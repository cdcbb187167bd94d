"""Samples to learn from: tensors in memory, or a map-style Dataset, read sample by sample."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sized
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree
from torch.utils.data import Dataset, IterableDataset, TensorDataset, default_collate

from hierfl.errors import DataError, HierflError
from hierfl.learning.user_code import failure, guard

Batch = Any
"""A tree (tuples, lists, dicts) of tensors, in each of which the first dimension counts samples."""

CHUNK = 256
"""Samples that are looked at together where all are looked at."""


class Samples(ABC):
    """Numbered samples, of which any few make a batch."""

    reads = False
    """Whether a batch runs the user's own code, which may draw random numbers."""

    @abstractmethod
    def __len__(self) -> int:
        """Return how many there are."""

    @abstractmethod
    def batch(self, where: torch.Tensor | slice) -> Batch:
        """Return some samples as one tree of tensors [k, ...].

        Args:
            where: int64 [k] indices, or a slice.
        """

    @abstractmethod
    def take(self, indices: torch.Tensor) -> Samples:
        """Return some of the samples, int64 [k], without keeping the others in memory."""

    def name_of(self, index: int) -> str:
        """Return what to call a sample in an error."""
        return f"sample {index}"

    def chunks(self) -> Iterator[Batch]:
        """Yield all samples in their order, a few at a time."""
        for start in range(0, len(self), CHUNK):
            yield self.batch(slice(start, min(start + CHUNK, len(self))))


class Tensors(Samples):
    """Samples in memory: a tree of tensors [n, ...].

    Floats become float32. Integers stay integers: bytes are a quarter of the size of floats, and
    tokens are no numbers to compute with.

    Raises:
        DataError: if there is no tensor, or they are not as many.
    """

    def __init__(self, tree: Batch) -> None:
        leaves, self._spec = pytree.tree_flatten(tree)
        self.tensors = [as_tensor(leaf) for leaf in leaves]
        sizes = {len(tensor) if tensor.ndim else None for tensor in self.tensors}
        if len(sizes) != 1 or None in sizes:
            shapes = " and ".join(str(tuple(tensor.shape)) for tensor in self.tensors)
            raise DataError(f"inputs and targets must be as many; their shapes: {shapes or 'none'}")

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.tensors[0])

    def batch(self, where: torch.Tensor | slice) -> Batch:
        """See `Samples.batch`."""
        return pytree.tree_unflatten([tensor[where] for tensor in self.tensors], self._spec)

    def take(self, indices: torch.Tensor) -> Tensors:
        """Return a copy of some, so that the memory of the others can be given back."""
        return Tensors(self.batch(indices))


class Read(Samples):
    """Samples of a map-style Dataset, each read when a batch needs it.

    Args:
        dataset: torch's: `__len__`, `__getitem__`, and `__getitems__` where it has one.
        indices: int64 [n], those that count; None: all.
    """

    reads = True

    def __init__(self, dataset: Dataset[Any], indices: torch.Tensor | None = None) -> None:
        assert isinstance(dataset, Sized)
        self.dataset = dataset
        if indices is None:
            with guard(f"{_what(dataset)}.__len__"):
                indices = torch.arange(_length(dataset))
        self.indices = indices

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.indices)

    def batch(self, where: torch.Tensor | slice) -> Batch:
        """See `Samples.batch`."""
        numbers = self.indices[where].tolist()
        if hasattr(self.dataset, "__getitems__"):
            with guard(f"{_what(self.dataset)}.__getitems__"):
                items = self.dataset.__getitems__(numbers)
        else:
            items = []
            try:
                for number in numbers:
                    items.append(self.dataset[number])
            except (HierflError, KeyboardInterrupt):
                raise
            except BaseException as error:
                raise failure(error, f"sample {number} of {_what(self.dataset)}") or error from None
        return pytree.tree_map_only(torch.Tensor, narrow, _collated(items))

    def take(self, indices: torch.Tensor) -> Read:
        """Return some of them, of the same Dataset."""
        return Read(self.dataset, self.indices[indices])

    def name_of(self, index: int) -> str:
        """See `Samples.name_of`."""
        return f"sample {int(self.indices[index])}"


def _what(dataset: object) -> str:
    return type(dataset).__name__


def _length(dataset: Sized) -> int:
    try:
        return len(dataset)
    except ValueError as error:  # below zero: Python's own words
        raise DataError(f"{_what(dataset)}: {error}") from error


def _collated(items: list[Any]) -> Batch:
    """Return samples as one tree.

    Raises:
        DataError: they do not fit together.
    """
    try:
        batch = default_collate(items)
        strange = [x for x in pytree.tree_leaves(batch) if not isinstance(x, torch.Tensor)]
        if strange:
            raise DataError(
                f"a sample holds a {type(strange[0]).__name__}, {strange[0]!r:.80}: no number",
                "Classes are whole numbers; Data(labels=[...]) gives them names.",
            )
        return batch
    except RuntimeError as error:
        first = [pytree.tree_leaves(item)[0] for item in items]
        shapes = {tuple(leaf.shape) for leaf in first if isinstance(leaf, torch.Tensor)}
        raise DataError(
            f"samples of one batch are of several shapes: {', '.join(map(str, sorted(shapes)))}",
            "Images get one size by data.transforms: [{Resize: {size: [64, 64]}}].",
        ) from error
    except TypeError as error:
        raise DataError(f"samples are no tensors: {str(error).partition(chr(10))[0]}") from error


def nbytes(samples: Samples) -> int:
    """Return the bytes of memory that samples take before a batch is made of them."""
    if isinstance(samples, Tensors):
        return sum(tensor.nbytes for tensor in samples.tensors)
    return 0


def as_samples(data: object) -> Samples:
    """Return what a user gives as samples.

    Args:
        data: a map-style Dataset (anything with a length and items), or a tree of tensors or
            arrays [n, ...].

    Raises:
        DataError: it is something else.
    """
    if isinstance(data, Samples):
        return data
    if isinstance(data, TensorDataset):
        return Tensors(data.tensors)
    if isinstance(data, IterableDataset):
        kind = type(data).__name__
        raise DataError(
            f"{kind} is an IterableDataset: batches need samples that have numbers",
            "Give it __len__ and __getitem__: a map-style Dataset.",
        )
    if isinstance(data, torch.Tensor | np.ndarray | tuple | Mapping) or _is_pair(data):
        return Tensors(data)
    if isinstance(data, Sized) and hasattr(data, "__getitem__"):
        return Read(data)  # type: ignore[arg-type]
    raise DataError(
        f"a {type(data).__name__} holds no samples",
        "Samples are tensors, or a map-style Dataset: one with __len__ and __getitem__.",
    )


def _is_pair(data: object) -> bool:
    """Return whether it is a list of whole tensors, and not of samples."""
    return (
        isinstance(data, list)
        and 0 < len(data) <= 2
        and all(isinstance(part, torch.Tensor | np.ndarray) for part in data)
    )


def as_tensor(data: Any) -> torch.Tensor:
    """Return a tensor, in the type in which it is kept.

    Raises:
        DataError: it is none.
    """
    try:
        tensor = torch.as_tensor(data)
        if tensor.layout != torch.strided or tensor.is_meta:
            kind = "has no values (meta)" if tensor.is_meta else f"is {tensor.layout}"
            raise DataError(f"a tensor of shape {tuple(tensor.shape)} {kind}", "Give a dense one.")
        return narrow(tensor.cpu())
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"a {type(data).__name__} is no tensor: {reason}") from None


def narrow(tensor: torch.Tensor) -> torch.Tensor:
    """Return floats as float32, and integers but bytes as int64; no gradient goes into them."""
    tensor = tensor.detach()
    if tensor.is_floating_point():
        return tensor.to(torch.float32)
    if tensor.is_complex():
        return tensor.to(torch.complex64)
    return tensor if tensor.dtype in (torch.uint8, torch.bool) else tensor.to(torch.int64)


@contextmanager
def drawing(seed: int, *, user_code: bool = False) -> Iterator[None]:
    """Let whatever is drawn inside depend on a seed alone; the states are left as they were.

    Args:
        seed: 0 to 2**63 - 1.
        user_code: whether Python's and NumPy's generators may be drawn from, not torch's alone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if not user_code:
            yield
            return
        python, numpy = random.getstate(), np.random.get_state()
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
