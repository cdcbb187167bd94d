"""A node that dies once, at a chosen moment: `saboteur.py POINT MARKER ARGUMENTS...`.

POINT is MODULE:NAME@N:before or :after: the process kills itself with SIGKILL at the Nth call of
that function, before it or after it, unless the file MARKER is there, which it makes. ARGUMENTS
are those of `hierfl`.
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


def arm(point: str, marker: Path) -> None:
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
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, deadly)


if __name__ == "__main__":
    from hierfl.cli import main

    if not Path(sys.argv[2]).exists():
        arm(sys.argv[1], Path(sys.argv[2]))
    main(sys.argv[3:])
