"""The fingerprint of an app's code, by which nodes find out that they run the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from hierfl.errors import ConfigError


def fingerprint(folder: Path) -> str:
    """Return the SHA-256, in hex, of an app's pyproject.toml and Python files, with their names.

    Hidden folders and virtual environments are left out.

    Raises:
        ConfigError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for file in sorted(_code(folder)):
        try:
            content = hashlib.sha256(file.read_bytes()).hexdigest()
        except OSError as error:
            raise ConfigError(str(file), f"cannot be read: {error.strerror}") from None
        digest.update(f"{file.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def _code(folder: Path) -> Iterator[Path]:
    yield folder / "pyproject.toml"
    for place, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and name != "__pycache__"
            and not Path(place, name, "pyvenv.cfg").exists()
        ]
        yield from (Path(place, name) for name in files if name.endswith(".py"))
