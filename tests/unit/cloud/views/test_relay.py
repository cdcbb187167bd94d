"""Events on their way from the cloud's process to the launcher's."""

from __future__ import annotations

import stat
import time
from multiprocessing.connection import Listener
from pathlib import Path

from cloud.views.background import ROOM, Background
from cloud.views.base import Event, Listening, TrainingStarted, View
from cloud.views.relay import receiver, sender
from tests.unit.cloud.views.events import FORECAST, evaluated, finished, here, step

EVENTS: list[Event] = [
    Listening("127.0.0.1:1"), here("east", "east-1"), TrainingStarted(FORECAST),
    step("east", 1, 1), evaluated(1), finished(),
]  # fmt: skip


class Kept(View):
    def __init__(self) -> None:
        self.events: list[Event] = []

    def handle(self, event: Event) -> None:
        self.events.append(event)


def test_events_arrive_as_they_were_of_one_cloud_after_the_other() -> None:
    kept = Kept()
    with receiver(kept) as address:
        assert stat.S_IMODE(Path(address).parent.stat().st_mode) == 0o700
        for _ in range(2):
            link = sender(address)
            for event in EVENTS:
                link.handle(event)
            link.close()
    assert kept.events == 2 * EVENTS
    assert not Path(address).exists()


def test_a_cloud_never_waits_for_whoever_does_not_read(tmp_path: Path) -> None:
    with Listener(str(tmp_path / "stuck"), family="AF_UNIX") as listener:
        link = sender(str(listener.address))
        begin = time.monotonic()
        for number in range(20 * ROOM):
            link.handle(step("east", 1, number))
        assert time.monotonic() - begin < 5
        assert isinstance(link, Background)
        assert link._queue.qsize() <= ROOM // 2 + 1
        link.handle(finished())
        assert link._queue.queue[-1] == finished()  # there is room for what is no step


def test_nobody_says_anything_and_it_ends_all_the_same() -> None:
    begin = time.monotonic()
    with receiver(View()):
        pass
    assert time.monotonic() - begin < 2
