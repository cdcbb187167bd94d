"""CSV files whose first line names the columns."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hierfl.config.data_section import Csv
from hierfl.errors import DataError
from hierfl.learning.data import Data, Targets
from hierfl.learning.readers.files import halves
from hierfl.learning.samples import Batch
from hierfl.units import plural

LARGEST = float(np.finfo(np.float32).max)
ENCODING = "utf-8-sig"  # spreadsheets begin a file with a mark


def read_csv(keys: Csv, root: Path, targets: Targets) -> Data:
    """Return the rows of CSV files: float32 features and, where a target is named, targets.

    Where the task learns classes, targets are names; else they are numbers, [n] or [n, k].

    Raises:
        DataError: a file, a column or a cell is not as it should be.
    """
    train, test = halves(root, keys.files, keys.test)
    columns = keys.features or _all_features(train[0], keys)
    classes = targets == "classes"
    if classes and len(keys.target or ()) > 1:
        raise DataError(
            f"data.dataset.csv.target names {len(keys.target or ())} columns of classes"
        )
    tables = [
        [_table(file, columns, keys, classes) for file in files] for files in (train, test) if files
    ]
    names = sorted({str(name) for half in tables for _, of in half if classes for name in of})
    stacked = [_stacked(half, names) for half in tables]
    labels = names if classes and keys.target else None
    return Data(*stacked, labels=labels, columns=tuple(columns), raw=True)


def _all_features(file: Path, keys: Csv) -> tuple[str, ...]:
    """Return all columns but the targets, sorted: nodes' files may have them in any order.

    Raises:
        DataError: there is no other column.
    """
    head = head_of(file, keys.delimiter)
    found = tuple(sorted(name for name in head if name not in (keys.target or ())))
    if not found:
        raise DataError(f"{file}: besides the target there is no column to learn from")
    return found


def head_of(file: Path, delimiter: str) -> list[str]:
    """Return the names of a file's columns.

    Raises:
        DataError: its first line names none.
    """
    return _head(file, delimiter)[0]


def _head(file: Path, delimiter: str) -> tuple[list[str], int]:
    """Return the names of a file's columns, and how many lines they take; see `head_of`."""
    for line, row in _lines(file, delimiter):
        names = [name.strip() for name in row]
        if all(_number(name) is not None for name in names):
            raise DataError(
                f"{file}: its first line holds numbers, where the names of the columns should be",
                "Put a line such as temperature,humidity,label first.",
            )
        if twins := [name for name in names if names.count(name) > 1]:
            raise DataError(f"{file}: two columns are named {twins[0]!r}")
        return names, line
    raise DataError(f"{file}: the file is empty")


def _table(
    file: Path, columns: Sequence[str], keys: Csv, classes: bool
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.generic]]:
    """Return a file's features, float32 [n, f], and its targets: float32 [n, k] or texts [n]."""
    head, first = _head(file, keys.delimiter)
    places = {name: i for i, name in enumerate(head)}
    for name in (*columns, *(keys.target or ())):
        if name not in places:
            raise DataError(f"{file}: there is no column {name!r}", _there_are(head))
    _refuse_ragged(file, keys.delimiter, len(head), first)
    numbers = [places[name] for name in columns]
    target = [places[name] for name in keys.target or ()]
    text = target if classes else []
    numeric = numbers if classes else numbers + target
    try:
        table = _load(file, keys.delimiter, first, numeric, np.float32)
        texts = _load(file, keys.delimiter, first, text, np.str_) if text else None
    except ValueError as error:
        _blame(file, keys.delimiter, head, numeric)
        raise DataError(f"{file}: {error}") from error
    if not np.isfinite(table).all():
        _blame(file, keys.delimiter, head, numeric)
    if texts is not None:
        names = np.array([_name(cell) for cell in texts[:, 0]])
        if not all(map(_is_class, np.unique(names))):
            _blame_class(file, keys.delimiter, head, text[0])
        return table, names
    return table[:, : len(numbers)], table[:, len(numbers) :]


def _there_are(head: Sequence[str]) -> str:
    """Return what to do where a file has not the column that is asked for."""
    if len(head) == 1 and (found := [sign for sign in ";\t|" if sign in head[0]]):
        return f"Its columns are divided by {found[0]!r}: set data.dataset.csv.delimiter."
    return f"It has {', '.join(head)}."


_COMMAS = "Decimal commas must be points, or the cells in quotes."


def _refuse_ragged(file: Path, delimiter: str, columns: int, first: int) -> None:
    """Refuse a file with a line of more or fewer cells than there are columns.

    With decimal commas, all cells but the first would be taken for the next column's. Lines with
    quotes are not looked at: what they hold may be anything.
    """
    sign = delimiter.encode()
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            cells = line.count(sign) + 1
            if cells != columns and number > first and b'"' not in line and line.strip():
                raise DataError(
                    f"{file}, line {number}: it has {plural(cells, 'cell')}, and there are "
                    f"{columns} columns",
                    _COMMAS if cells > columns else None,
                )


def _is_class(name: str) -> bool:
    value = _number(name)
    return bool(name) and (value is None or value.is_integer())


def _blame_class(file: Path, delimiter: str, head: Sequence[str], column: int) -> None:
    """Raise a DataError that names the first cell that names no class, if there is one."""
    rows = _lines(file, delimiter)
    next(rows)
    for line, row in rows:
        if not _is_class(name := _name(row[column])):
            said = f"there is {name}" if name else "the cell is empty"
            raise DataError(
                f"{file}, line {line}: the column {head[column]} should name classes; {said}",
                "For real targets there is task: regression." if name else
                "Leave rows without a class out.",
            )  # fmt: skip


def _load(
    file: Path, delimiter: str, first: int, columns: list[int], kind: Any
) -> npt.NDArray[Any]:
    """Return columns [n, k] of what comes after the first lines, which hold the head."""
    with file.open(encoding=ENCODING, newline="") as lines:
        for _ in range(first):
            next(lines)
        if not any(line.strip() for line in lines):
            return np.empty((0, len(columns)), kind)
    return np.loadtxt(
        file, kind, delimiter=delimiter, skiprows=first, usecols=columns, ndmin=2, quotechar='"',
        comments=None, encoding=ENCODING,
    )  # fmt: skip


def _blame(file: Path, delimiter: str, head: Sequence[str], columns: Sequence[int]) -> None:
    """Raise a DataError that names the first cell that is no finite number, if there is one."""
    rows = _lines(file, delimiter)
    next(rows)
    for line, row in rows:
        if len(row) <= max(columns):
            raise DataError(f"{file}, line {line}: it has {len(row)} of {len(head)} columns")
        for column in columns:
            value = _number(row[column])
            if value is None or not abs(value) <= LARGEST:
                said = f"{row[column]!r} is no number" if value is None else f"{row[column]} is not"
                raise DataError(
                    f"{file}, line {line}, column {head[column]}: "
                    + (said if value is None else f"{said} finite"),
                    "Leave rows with missing values out, or fill them in.",
                )


def _lines(file: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of each line that is not empty."""
    try:
        with file.open(encoding=ENCODING, newline="") as lines:
            reader = csv.reader(lines, delimiter=delimiter)
            for row in reader:
                if row:
                    yield reader.line_num, row
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: it is no UTF-8 text: {error}", "Save it as UTF-8.") from error
    except (OSError, csv.Error) as error:
        raise DataError(f"{file}: {error}") from error


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _name(cell: str) -> str:
    """Return the name of a class; 3, 3.0 and 3.000 are the same."""
    value = _number(cell)
    if value is not None and math.isfinite(value) and value == round(value):
        return str(round(value))
    return cell.strip()


def _stacked(
    tables: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.generic]]], names: list[str]
) -> Batch:
    """Return the samples of several files together: (inputs, targets), or inputs alone."""
    inputs = torch.from_numpy(np.concatenate([features for features, _ in tables]))
    targets = np.concatenate([target for _, target in tables])
    if targets.ndim == 1:
        return inputs, torch.from_numpy(np.searchsorted(names, targets))
    if not targets.shape[1]:
        return inputs
    values = torch.from_numpy(targets.astype(np.float32))
    return inputs, values[:, 0] if values.shape[1] == 1 else values
