"""Writing a file whole, or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write a file beside, as PATH.part, and rename it: whoever reads sees the old one or the new.

    Args:
        path: the file.
        data: what it holds then.
        durable: whether it is on the disk when this returns, also after a power cut.

    Raises:
        OSError: if that fails; the old one is as it was, and nothing is left beside it.
    """
    beside = path.with_name(f"{path.name}.part")
    try:
        with beside.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
