"""Large frames wait for each other, in order, and nobody waits for good."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from hierfl.link import send_window
from hierfl.link.send_window import SendWindow


class Sender:
    """Sends frames that are through when they are told so."""

    def __init__(self, limit: int) -> None:
        self.window = SendWindow(limit)
        self.under_way: list[str] = []
        self.through: dict[str, asyncio.Event] = {}

    def send(self, name: str, size: int) -> asyncio.Task[None]:
        self.through[name] = asyncio.Event()
        return asyncio.create_task(self._send(name, size))

    async def _send(self, name: str, size: int) -> None:
        async with self.window.sending(size):
            self.under_way.append(name)
            try:
                await self.through[name].wait()
            finally:
                self.under_way.remove(name)


async def turns() -> None:
    """Let all tasks go as far as they can."""
    for _ in range(10):
        await asyncio.sleep(0)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 30))


def test_frames_wait_in_their_order() -> None:
    async def test() -> None:
        sender = Sender(10)
        tasks = [sender.send(name, size) for name, size in [("a", 6), ("b", 6), ("c", 3)]]
        await turns()
        assert sender.under_way == ["a"]  # c would fit, but b is before it
        sender.through["a"].set()
        await turns()
        assert sender.under_way == ["b", "c"]
        sender.through["b"].set()
        sender.through["c"].set()
        await asyncio.gather(*tasks)

    run(test())


def test_a_frame_larger_than_the_window_goes_alone() -> None:
    async def test() -> None:
        sender = Sender(10)
        tasks = [sender.send("small", 1), sender.send("huge", 100), sender.send("next", 1)]
        await turns()
        assert sender.under_way == ["small"]
        sender.through["small"].set()
        await turns()
        assert sender.under_way == ["huge"]
        sender.through["huge"].set()
        sender.through["next"].set()
        await asyncio.gather(*tasks)

    run(test())


@pytest.mark.parametrize("late", [False, True], ids=["while it waits", "when its turn has come"])
def test_a_child_that_leaves_takes_nothing_with_it(late: bool) -> None:
    async def test() -> None:
        sender = Sender(10)
        tasks = [sender.send(name, 10) for name in "abc"]
        await turns()
        if late:
            sender.through["a"].set()
            await tasks[0]
        tasks[1].cancel()
        sender.through["a"].set()
        await turns()
        assert sender.under_way == ["c"]
        sender.through["c"].set()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with sender.window.sending(10):
            pass  # all of it is free again

    run(test())


def test_who_reads_slowly_does_not_keep_the_others_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(send_window, "HOLD_S", 0.01)

    async def test() -> None:
        sender = Sender(10)
        slow, quick = sender.send("slow", 10), sender.send("quick", 10)
        sender.through["quick"].set()
        await quick
        assert sender.under_way == ["slow"]
        first = sender.send("first", 10)
        await turns()
        sender.through["slow"].set()
        await slow  # its bytes were given back before
        second = sender.send("second", 10)
        await turns()
        assert sender.under_way == ["first"]
        for name in ("first", "second"):
            sender.through[name].set()
        await asyncio.gather(first, second)

    run(test())
