"""What is told of nodes that go away, and what `hierfl status` shows."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from cloud.notify import Notifier
from cloud.presence import Presence
from cloud.status import SETTLED_S, StatusKeeper
from cloud.views.base import Listening
from hierfl.config import load_config
from hierfl.errors import ConfigError
from hierfl.link.membership import Membership
from hierfl.protocol.presence import ChildState, Roll
from hierfl.protocol.progress import DeviceStates
from hierfl.runs.owner import owner
from hierfl.runs.status import lines, read

CONFIG = load_config(None, [])


@pytest.fixture
def keeper(tmp_path: Path) -> StatusKeeper:
    presence = Presence(CONFIG.tree())
    states = (("east-0", "away", 50.0, ""), ("mallory", "away", 1.0, ""), ("east-1", "x", 1.0, ""))
    presence.progress("east", DeviceStates(states))
    edges = Roll(Membership(["east", "west"], 1.0, 5), lambda: ["west"], clock=lambda: 10.0)
    keeper = StatusKeeper(CONFIG, tmp_path, edges, presence, None)
    keeper.handle(Listening("127.0.0.1:7"))
    return keeper


def test_a_run_s_status(keeper: StatusKeeper, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("")
    keeper._look()
    status = read(tmp_path)
    assert (status["state"], status["round"], status["address"]) == ("stopped", 1, "127.0.0.1:7")
    east, west = status["edges"]
    assert (east["state"], west["state"]) == ("attached", "missing")
    assert [(d["name"], d["state"], d["since"]) for d in east["devices"]] == [
        ("east-0", "away", 50.0)
    ], "who is none of its devices, and what is no state, is left out"
    assert any(line.startswith("  east-0       away since") for line in lines(status))
    with owner(tmp_path / ".lock", "the run"):
        assert read(tmp_path)["state"] == "running"


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no run in this folder"):
        read(tmp_path)
    (tmp_path / "status.json").write_text("[")
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path)


def test_what_has_lasted_is_told_once(keeper: StatusKeeper) -> None:
    def changes(state: str, since: float, now: float) -> list[str]:
        edge = ChildState("east", "attached", 0.0)
        device = ChildState("east-0", state, since)
        told = keeper._changes({"east": (edge, (device,))}, now)
        return [line.split(" since")[0] for line in told]

    assert changes("missing", 0.0, 100.0) == [], "it has not come yet"
    assert changes("attached", 100.0, 110.0) == []
    assert changes("missing", 120.0, 121.0) == [], "it may be back in a moment"
    assert changes("missing", 120.0, 120.0 + SETTLED_S) == ["east-0 is missing"]
    assert changes("missing", 120.0, 500.0) == []
    assert changes("attached", 600.0, 700.0) == ["east-0 is attached"]
    assert changes("turned away", 800.0, 900.0) == ["east-0 is turned away"]


def test_a_command_reads_what_has_changed(tmp_path: Path) -> None:
    with Notifier(f"cat >> {tmp_path / 'told'}") as notifier:
        notifier.tell("pi-5 is away")
        notifier.tell("pi-5 is back")
    assert (tmp_path / "told").read_text() == "pi-5 is away\npi-5 is back\n"


def test_a_command_that_fails_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with Notifier("exit 3") as notifier:
        notifier.tell("x")
    assert "notify failed" in caplog.text


def test_a_webhook_is_posted_to() -> None:
    heard: list[Any] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with Notifier(f"http://127.0.0.1:{server.server_port}/hook") as notifier:
            notifier.tell("pi-5 is away")
        thread.join(20)
    assert heard == [{"text": "pi-5 is away"}]


def test_a_run_in_memory_has_no_nodes_to_show(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("")
    assert lines(read(tmp_path)) == ["stopped"]
    (tmp_path / "summary.json").write_text("{}")
    assert lines(read(tmp_path)) == ["finished"]
