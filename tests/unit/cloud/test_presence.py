"""An edge tells the cloud how many of its devices are there."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from queue import SimpleQueue

from flwr.clientapp import ClientApp

from cloud import main as cloud_main
from cloud.presence import Presence
from cloud.views.base import EdgeProgress, Event, View
from deploy.launcher.ports import Ports
from edge import main as edge_main
from hierfl.config import load_config
from hierfl.config.digest import digest
from hierfl.link.client import LinkClient
from hierfl.link.link_grid import LinkGrid
from hierfl.planning.plan import resolve
from hierfl.protocol.presence import ChildState
from hierfl.protocol.progress import DevicesAttached, DeviceStates, Progress, StepDone, to_json

LIMIT = 60


def test_devices_that_come_are_told_to_the_cloud(tmp_path: Path) -> None:
    with Ports() as ports:
        upper = ports.fix("cloud.address", "127.0.0.1:0")
        lower = ports.fix("edges.0.address", "127.0.0.1:0")
        sets = [f"cloud.address={upper}", f"edges=[{{name: e, address: '{lower}', devices: 2}}]"]
        config = resolve(load_config(None, sets))
        told: SimpleQueue[tuple[str, bytes]] = SimpleQueue()
        cloud = LinkGrid(
            upper, ["e"], plan=digest(config).to_text(), on_progress=lambda *news: told.put(news)
        )
        edge = threading.Thread(target=edge_main.run, args=(config, "e", tmp_path))
        devices = [
            threading.Thread(target=LinkClient(lower, name, ClientApp()).serve)
            for name in ("e-0", "e-1")
        ]

        def wait_for(here: int) -> None:
            while (news := told.get(timeout=LIMIT)) != ("e", _news(here)):
                assert json.loads(news[1])["devices"] < here, news

        with cloud:
            cloud.open()
            edge.start()
            wait_for(0)
            for here, device in enumerate(devices, start=1):
                device.start()
                wait_for(here)
        for thread in (edge, *devices):
            thread.join(LIMIT)
            assert not thread.is_alive()


def _news(here: int) -> bytes:
    missing = ["e-0", "e-1"][here:]
    return json.dumps({"devices": here, "of": 2, "missing": missing}).encode()


TREE = {"e": ("e-0", "e-1"), "w": ("w-0",)}


def test_the_cloud_knows_who_is_missing() -> None:
    presence = Presence(TREE)
    assert presence.missing(["e", "w"]) == ["e", "w"]
    assert presence.missing([]) == []
    presence.progress("e", _attached(1))
    presence.progress("w", DevicesAttached(0, 1, ("w-0", "e-0", "x")))
    assert presence.missing([]) == ["e-1", "w-0"]
    assert presence.missing(["e"]) == ["e", "w-0"], "of one that is away nothing is known"
    presence.progress("e", _attached(2))
    assert presence.missing([]) == ["w-0"]


def _attached(here: int) -> DevicesAttached:
    return DevicesAttached(here, 2, ("e-0", "e-1")[here:])


def test_the_cloud_knows_how_devices_are_and_since_when() -> None:
    now = [10.0]
    presence = Presence({"e": ["a", "b"]}, lambda: now[0])
    assert presence.states("e") == ()
    presence.progress("e", DevicesAttached(1, 2, ("b",)))
    now[0] = 20.0
    presence.progress("e", DevicesAttached(2, 2, ()))
    presence.progress("e", DeviceStates((("a", "away", 15.0, ""), ("x", "away", 1.0, ""))))
    assert presence.states("e") == (
        ChildState("a", "away", 15.0),
        ChildState("b", "attached", 20.0),
    )
    presence.progress("e", DeviceStates(()))
    assert presence.states("e")[0] == ChildState("a", "attached", 10.0)


def test_what_edges_say_reaches_the_cloud_and_the_views() -> None:
    seen: list[Event] = []

    class Seen(View):
        def handle(self, event: Event) -> None:
            seen.append(event)

    presence = Presence(TREE)
    said: list[Progress] = [
        _attached(2),
        DeviceStates((("e-0", "late", 15.0, "3 steps"),)),
        StepDone(1, 2, 3.0, 2, 99),
    ]
    for progress in said:
        cloud_main._tell(Seen(), presence, "e", to_json(progress))
    cloud_main._tell(Seen(), presence, "e", b"no progress")
    assert seen == [EdgeProgress("e", progress) for progress in said]
    assert presence.states("e")[0] == ChildState("e-0", "late", 15.0, "3 steps")
