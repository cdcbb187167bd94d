"""A node that kills once, at a chosen moment: `saboteur.py POINT OUT VICTIM ARGUMENTS...`.

POINT is MODULE:NAME@N:before or :after: at the Nth call of that function, before it or after it,
this process sends SIGKILL to the node VICTIM, which may be itself, of the run in OUT, unless the
file OUT/sabotaged is there, which it makes. ARGUMENTS are those of `hierfl`.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def arm(point: str, out: Path, victim: str) -> None:
    """Replace the function by one that kills."""
    place, _, moment = point.partition("@")
    number, _, when = moment.partition(":")
    module_name, _, path = place.partition(":")
    owner: Any = importlib.import_module(module_name)
    *owners, name = path.split(".")
    for part in owners:
        owner = getattr(owner, part)
    original: Callable[..., Any] = getattr(owner, name)
    left = int(number)

    @functools.wraps(original)
    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0 and when == "before":
            die()
        result = original(*args, **kwargs)
        if left == 0:
            die()
        return result

    def die() -> None:
        marker = out / "sabotaged"
        if not marker.exists():
            marker.touch()
            os.kill(pid_of(victim, out), signal.SIGKILL)

    setattr(owner, name, deadly)


def pid_of(victim: str, out: Path) -> int:
    """Return the process of a node of the run in `out`."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                title = (entry / "cmdline").read_bytes().decode().strip("\0")
            except OSError:  # it has ended meanwhile
                continue
            if f"{out / 'config.yaml'} --name {victim} " in f"{title} ":
                return int(entry.name)
    raise AssertionError(f"{victim} is not running")


if __name__ == "__main__":
    from hierfl.cli import main

    arm(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
    main(sys.argv[4:])
