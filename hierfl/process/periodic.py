"""Something that is done again and again, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self


class Periodic:
    """While entered, calls a function in a thread of its own, after each pause.

    Args:
        act: the function.
        every: seconds of a pause, the first one included.
        name: of the thread.
    """

    def __init__(self, act: Callable[[], None], every: float, name: str) -> None:
        self._act = act
        self._every = every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._every):
            self._act()
