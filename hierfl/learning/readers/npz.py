"""NumPy's .npz files. Arrays that are not compressed stay in their file, mapped into memory."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from hierfl.config.data_section import Npz
from hierfl.errors import DataError
from hierfl.learning.data import Data
from hierfl.learning.readers.files import Array, Rows, halves

_LOCAL_HEADER = 30  # bytes of a member's own header, before its name and its extra field


def read_npz(keys: Npz, root: Path) -> Data:
    """Return the rows of the arrays that the keys name.

    Raises:
        DataError: a file or an array is not as it should be.
    """
    names = (keys.inputs, keys.target) if keys.target else (keys.inputs,)
    parts = [
        Rows([_arrays(file, names) for file in files], files)
        for files in halves(root, keys.files, keys.test)
        if files
    ]
    return Data(*parts, raw=True)


def _arrays(file: Path, names: tuple[str, ...]) -> tuple[Array, ...]:
    try:
        with zipfile.ZipFile(file) as archive:
            arrays = tuple(_array(archive, file, name) for name in names)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{file}: {error}") from error
    shapes = {name: array.shape for name, array in zip(names, arrays, strict=True)}
    if len({shape[:1] for shape in shapes.values()}) != 1 or () in shapes.values():
        raise DataError(f"{file}: its arrays must be as many; their shapes: {shapes}")
    return arrays


def _array(archive: zipfile.ZipFile, file: Path, name: str) -> Array:
    members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
    if name not in members:
        raise DataError(f"{file}: there is no array {name!r}", f"It has {', '.join(members)}.")
    member = members[name]
    with archive.open(member) as stream:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(stream)
        if dtype.kind not in "fiub":
            raise DataError(f"{file}: the array {name!r} is of type {dtype}, not of numbers")
        place = stream.tell()
    if member.compress_type == zipfile.ZIP_STORED and shape and not fortran and 0 not in shape:
        with file.open("rb") as raw:
            raw.seek(member.header_offset)
            header = raw.read(_LOCAL_HEADER)
        skip = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        offset = member.header_offset + _LOCAL_HEADER + skip + place
        return np.memmap(file, dtype, "r", offset, shape)
    with archive.open(member) as stream:
        array: Array = npy.read_array(stream, allow_pickle=False)
    return array
