"""The event loop on which links run, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

LAST_S = 2.0
"""Seconds within which what still runs on the loop must end when it is closed."""


class LinkLoop:
    """An event loop in a thread; a process needs one, whatever number of links it has.

    gRPC hands an event to whichever loop of the process is first, which passes it on to the right
    one: a second loop would cost each step a thread switch.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="link", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def call(self, function: Callable[..., object], *args: object) -> None:
        """Call a function on the loop soon; nothing happens once it has ended."""
        self._loop.call_soon_threadsafe(function, *args)

    def close(self) -> None:
        """Cancel what still runs, and end the thread.

        The loop itself stays open: gRPC may have an event for it yet, and would fail to hand it
        over.
        """
        if self._thread.is_alive():
            with suppress(TimeoutError):
                self.run(_cancel_all()).result(2 * LAST_S)
            self.call(self._loop.stop)
            self._thread.join(LAST_S)

    def __enter__(self) -> LinkLoop:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=LAST_S)
    await asyncio.get_running_loop().shutdown_asyncgens()
