"""Make the data of this example: a package of Python's standard library for each device.

    python make_data.py

Every machine with Python has these sources, so a device could read them where they are:
`--set "data.root=/usr/lib/python3.11/{name}"`.
"""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

PACKAGES = ("asyncio", "email", "json", "logging", "unittest", "xml")


def main(folder: Path = Path(".")) -> None:
    library = Path(sysconfig.get_path("stdlib"))
    for package in PACKAGES:
        there = folder / "data" / package
        shutil.copytree(
            library / package, there, dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("__pycache__", "test*"),
        )  # fmt: skip


if __name__ == "__main__":
    main()
