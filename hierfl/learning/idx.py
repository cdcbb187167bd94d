"""IDX, the file format of MNIST and its successors; plain or gzipped.

Written out here because torchvision's reader takes no gzipped file, and because importing
torchvision costs a device more memory than its share of the data.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt

from hierfl.errors import DataError
from hierfl.learning.sources import cache

_CHUNK = 1 << 20

_LARGE = 1 << 20
"""Bytes from which on a compressed file is worth a copy."""


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """An IDX file of unsigned bytes.

    Format: two zero bytes, the type (8: unsigned byte), the number of dimensions, each dimension
    as a big-endian uint32, then the values.

    Raises:
        DataError: the file is absent, cut short, or something else.
    """
    try:
        if path.suffix == ".gz" and path.stat().st_size >= _LARGE:
            return _mapped(path)
        return _read(path)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: {error}", "remove it, then run `hierfl data get`") from error


def _mapped(path: Path) -> npt.NDArray[np.uint8]:
    """The values of a compressed file, mapped from a copy in the cache that is not compressed.

    Decompressing Fashion-MNIST takes half a second and 50 MB in each process of a machine; the copy
    is made once. Where it cannot be kept, the file is read as any other.
    """
    facts = path.stat()
    named = f"{path.resolve()} {facts.st_size} {facts.st_mtime_ns}"
    copy = cache() / "unpacked" / f"{hashlib.sha256(named.encode()).hexdigest()[:16]}.npy"
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        with copy.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one process makes the copy, the others wait for it
            if not copy.exists():
                part = copy.with_suffix(".part")
                with part.open("wb") as file:
                    np.save(file, _read(path))
                    file.flush()
                    os.fsync(file.fileno())  # after a power cut it is whole, or not there
                part.replace(copy)
        mapped: npt.NDArray[np.uint8] = np.load(copy, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):  # no cache, or a damaged copy
        return _read(path)
    return mapped


def _read(path: Path) -> npt.NDArray[np.uint8]:
    with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
        return _parse(cast(IO[bytes], file), path)


def _parse(file: IO[bytes], path: Path) -> npt.NDArray[np.uint8]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:3] != b"\0\0\x08" or magic[3] not in (1, 2, 3, 4):
        raise DataError(f"{path}: not an IDX file of bytes (it begins with {magic.hex() or '-'})")
    shape = np.frombuffer(file.read(4 * magic[3]), ">u4")
    if shape.size < magic[3]:
        raise DataError(f"{path}: cut short in its header", "remove it, then run `hierfl data get`")
    size = int(shape.prod(dtype=np.uint64))
    if size > 1 << 32:
        raise DataError(f"{path}: claims {size} bytes")
    values = np.empty(size, np.uint8)
    filled = 0
    while block := file.read(min(_CHUNK, size - filled)):
        values[filled : filled + len(block)] = np.frombuffer(block, np.uint8)
        filled += len(block)
    if filled < size or file.read(1):
        found = f"{filled} bytes" if filled < size else "more"
        raise DataError(
            f"{path}: {size} bytes expected, {found} found", "remove it, then run `hierfl data get`"
        )
    return values.reshape(tuple(int(n) for n in shape))
