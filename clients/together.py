"""Functions that wait for something, called at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


def together(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Call functions, each in a thread of its own; a single one in this thread.

    The first one that raises ends the wait: the others run on in daemon threads.

    Returns:
        What the functions return, in their order.

    Raises:
        BaseException: what the first one to fail has raised.
    """
    if len(calls) == 1:
        return [calls[0]()]
    results: dict[int, T] = {}
    ended: SimpleQueue[BaseException | None] = SimpleQueue()

    def run(i: int) -> None:
        try:
            results[i] = calls[i]()
        except BaseException as error:  # raised in the thread that waits
            ended.put(error)
        else:
            ended.put(None)

    for i in range(len(calls)):
        threading.Thread(target=run, args=(i,), daemon=True).start()
    for _ in calls:
        if (error := ended.get()) is not None:
            raise error
    return [results[i] for i in range(len(calls))]
