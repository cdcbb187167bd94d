"""Which files a reader reads, and rows that stay in them until a batch needs them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from hierfl.errors import DataError
from hierfl.learning.samples import Batch, Samples, narrow

Array = npt.NDArray[np.generic]


def files_of(root: Path, pattern: str, without: Sequence[Path] = ()) -> list[Path]:
    """Return the files in a folder that a pattern names, sorted.

    Args:
        root: the folder.
        pattern: as for `Path.glob`; absolute ones are looked for outside of the folder.
        without: files that are not meant.

    Raises:
        DataError: there is no such folder, or none such file in it.
    """
    if not root.is_dir():
        what = "is no folder" if root.exists() else "there is no such folder"
        raise DataError(f"{root}: {what}", "It is data.root: --set data.root=FOLDER sets it.")
    try:
        found = {file for file in root.glob(pattern) if file.is_file()} - {*without}
    except (ValueError, NotImplementedError) as error:
        raise DataError(f"{pattern!r} is no pattern for files: {error}") from None
    if not found:
        there = sorted(path.name for path in root.iterdir())
        listed = ", ".join(there[:8]) + (", ..." if len(there) > 8 else "")
        raise DataError(
            f"{root}: no file is named like {pattern}",
            f"It holds {listed}." if there else "The folder is empty.",
        )
    return sorted(found)


def halves(root: Path, files: str, test: str | None) -> tuple[list[Path], list[Path]]:
    """Return the files to learn from, and those to be judged by.

    Raises:
        DataError: there are none of a kind that is asked for.
    """
    judging = [] if test is None else files_of(root, test)
    return files_of(root, files, judging), judging


class Rows(Samples):
    """Rows of arrays in several files, perhaps mapped into memory: a batch copies what it needs.

    Args:
        parts: of each file, one array or several, in each of which a row is a sample's.
        files: the file of each part.
        indices: int64 [n], the rows that count; None: all.

    Raises:
        DataError: rows of two files are not alike.
    """

    def __init__(
        self,
        parts: Sequence[tuple[Array, ...]],
        files: Sequence[Path],
        indices: torch.Tensor | None = None,
    ) -> None:
        self._parts = parts
        self._files = files
        _refuse_unlike(parts, files)
        self._ends = np.cumsum([len(part[0]) for part in parts])
        total = int(self._ends[-1]) if len(parts) else 0
        self._indices = torch.arange(total) if indices is None else indices

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._indices)

    def batch(self, where: torch.Tensor | slice) -> Batch:
        """Return some rows: (inputs, targets), or inputs alone where there are no targets."""
        rows = self._indices[where].numpy()
        file = np.searchsorted(self._ends, rows, side="right")
        order = np.argsort(file, kind="stable")
        pieces = []
        for number in np.unique(file):
            of_file = rows[order][file[order] == number]
            first = int(self._ends[number]) - len(self._parts[number][0])
            pieces.append([array[of_file - first] for array in self._parts[number]])
        back = torch.from_numpy(np.argsort(order, kind="stable"))
        leaves = [
            torch.from_numpy(np.concatenate(pieces))[back] for pieces in zip(*pieces, strict=True)
        ]
        leaves = [narrow(leaf) for leaf in leaves]
        return tuple(leaves) if len(leaves) > 1 else leaves[0]

    def take(self, indices: torch.Tensor) -> Rows:
        """Return some of the rows, which stay where they are."""
        return Rows(self._parts, self._files, self._indices[indices])

    def name_of(self, index: int) -> str:
        """See `Samples.name_of`."""
        row = int(self._indices[index])
        number = int(np.searchsorted(self._ends, row, side="right"))
        first = int(self._ends[number]) - len(self._parts[number][0])
        return f"row {row - first} of {self._files[number]}"


def _refuse_unlike(parts: Sequence[tuple[Array, ...]], files: Sequence[Path]) -> None:
    for part, file in zip(parts[1:], files[1:], strict=True):
        for one, other in zip(parts[0], part, strict=True):
            if one.shape[1:] != other.shape[1:] or one.dtype.kind != other.dtype.kind:
                said = f"{one.dtype} {one.shape[1:]} and {other.dtype} {other.shape[1:]}"
                raise DataError(f"{files[0]} and {file}: their rows are not alike: {said}")
