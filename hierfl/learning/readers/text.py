"""Text files as sequences of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hierfl.config.data_section import TextFiles
from hierfl.errors import DataError
from hierfl.learning.data import Data
from hierfl.learning.readers.files import Array, Rows, halves

MAPPED = 1 << 20
"""Bytes from which on a file is mapped into memory instead of read."""


def read_text(keys: TextFiles, root: Path) -> Data:
    """Return pieces of text, uint8 [n, length] each, one after the other; a file's rest is left.

    Raises:
        DataError: there are no such files, or they are all too short.
    """
    found = [_rows(files, keys.length) for files in halves(root, keys.files, keys.test) if files]
    if not all(map(len, found)):
        raise DataError(f"{root}: no file like {keys.files} holds {keys.length} bytes")
    return Data(*found)


def _rows(files: Sequence[Path], length: int) -> Rows:
    small: list[Array] = []
    parts: list[tuple[Array, ...]] = []
    named: list[Path] = []
    for file in files:
        try:
            pieces = file.stat().st_size // length
            if not pieces:
                continue
            if pieces * length < MAPPED:
                read = np.fromfile(file, np.uint8, pieces * length)
                small.append(read.reshape(-1, length))
            else:
                parts.append((np.memmap(file, np.uint8, "r", 0, (pieces, length)),))
                named.append(file)
        except (OSError, ValueError) as error:
            raise DataError(f"{file}: {error}") from error
    if small:
        parts.insert(0, (np.concatenate(small),))
        named.insert(0, files[0])
    return Rows(parts, named)
