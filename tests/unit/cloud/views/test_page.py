"""The live page as a browser gets it: who may see it, what comes, and that a run never waits."""

from __future__ import annotations

import json
import re
import socket
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from cloud.views.background import ROOM
from cloud.views.base import TrainingStarted
from cloud.views.page.endpoint import TOKEN_FILE, Endpoint, listen
from cloud.views.page.server import Page, _document
from hierfl.errors import ConfigError, RunFailed
from tests.unit.cloud.views.events import CONFIG, FORECAST, evaluated, finished, step
from tests.unit.conftest import Run

LIMIT_S = 20


@contextmanager
def page(folder: Path, address: str = "127.0.0.1:0") -> Iterator[Page]:
    shown = Page(CONFIG, folder, listen(address))
    try:
        yield shown
    finally:
        shown.close()


def get(url: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def events(url: str) -> Iterator[tuple[str, Any]]:
    """What a browser is sent."""
    with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
        kind = ""
        for line in answer:
            word, _, data = line.decode().rstrip("\n").partition(": ")
            if word == "event":
                kind = data
            elif word == "data":
                yield kind, json.loads(data)


def at(url: str, path: str) -> str:
    return re.sub(r"/(\?|$)", rf"/{path}\1", url)


class Loads(HTMLParser):
    """What a page has a browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href") and not (value or "").startswith("data:"):
                self.found.append(f"{tag} {value}")


def test_the_page_loads_nothing_from_elsewhere() -> None:
    loads = Loads()
    loads.feed(_document())
    assert loads.found == []
    outside = set(re.findall(r"https?://[^\s\"']+", _document()))
    assert outside == {"http://www.w3.org/2000/svg"}  # a name, not an address


def test_history_comes_first_then_what_happens_then_the_end(tmp_path: Path) -> None:
    rows = [json.dumps(evaluated(round_).metrics.to_json()) + "\n" for round_ in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text(rows[0] + "damaged\n" + rows[1])
    with page(tmp_path) as shown:
        assert get(shown.url)[0] == 200
        stream = events(at(shown.url, "events"))
        kind, whole = next(stream)
        assert kind == "whole" and [row["round"] for row in whole["history"]] == [1, 2]
        shown.handle(TrainingStarted(FORECAST))
        shown.handle(step("east", 3, 2))
        shown.handle(evaluated(3, 0.9))
        shown.handle(finished())
        shown.close()
        seen = list(stream)
    kinds = [kind for kind, _ in seen]
    assert kinds[-1] == "bye" and {"now", "round", "event", "done"} <= set(kinds)
    assert next(data for kind, data in seen if kind == "round")["accuracy"] == 0.9
    assert next(data for kind, data in seen if kind == "done")["model_sha256"] == "ab" * 32


def test_only_this_machine_may_ask_and_not_by_a_name_of_anothers(tmp_path: Path) -> None:
    with page(tmp_path) as shown:
        assert shown.url.startswith("http://127.0.0.1:") and "token" not in shown.url
        assert get(shown.url, Host="evil.example:80")[0] == 400
        assert get(shown.url, Host="localhost:80")[0] == 200
        with urllib.request.urlopen(shown.url, timeout=LIMIT_S) as answer:
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        request = urllib.request.Request(shown.url, method="POST", data=b"")
        with pytest.raises(urllib.error.HTTPError, match="405"):
            urllib.request.urlopen(request, timeout=LIMIT_S)


def test_a_browser_from_elsewhere_needs_the_token_which_stays_the_same(tmp_path: Path) -> None:
    with page(tmp_path, "0.0.0.0:0") as shown:
        port, token = re.findall(r":(\d+)/\?token=(.+)$", shown.url)[0]
        place = f"http://127.0.0.1:{port}/"
        for path in ("", "events"):
            for wrong in ("", "?token=", "?token=x", f"?token={token}x", "?token=%C3%A4"):
                code, text = get(f"{place}{path}{wrong}")
                assert code == 403 and "token is missing or wrong" in text
                assert len(text.splitlines()) == 1
        assert get(f"{place}?token={token}")[0] == 200
    assert stat.S_IMODE((tmp_path / TOKEN_FILE).stat().st_mode) == 0o600
    with page(tmp_path, "0.0.0.0:0") as again:
        assert again.url.endswith(f"?token={token}")


def test_controls_need_the_token_and_say_what_was_done(tmp_path: Path) -> None:
    asked: list[str] = []

    def kill(node: str) -> str:
        if node != "east":
            raise ConfigError("", f"there is no node {node!r}")
        asked.append(node)
        return "was killed"

    def post(url: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(url, data=b"", timeout=LIMIT_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    shown = Page(CONFIG, tmp_path, listen("127.0.0.1:0"), {"kill": kill})
    place, token = shown.url.split("?")
    assert token.startswith("token=")
    for query in ("do=kill&node=east", "do=kill&node=east&token=x"):
        assert post(f"{place}control?{query}")[0] == 403
    assert get(f"{place}control?do=kill&node=east&{token}")[0] == 405
    assert post(f"{place}control?do=explode&node=east&{token}")[0] == 404
    assert post(f"{place}control?do=kill&node=moon&{token}") == (409, "there is no node 'moon'\n")
    assert asked == []
    assert post(f"{place}control?do=kill&node=east&{token}") == (200, "east: was killed\n")
    stream = events(at(shown.url, "events"))
    _, whole = next(stream)
    shown.close()
    list(stream)
    assert asked == ["east"] and whole["controls"] == ["kill"]
    assert whole["events"][-1]["text"] == "was killed from the page"
    with page(tmp_path) as without:
        assert post(at(without.url, "control"))[0] == 404


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("hub.local", False)],
)  # fmt: skip
def test_which_hosts_are_this_machine_alone(host: str, loopback: bool) -> None:
    with socket.socket() as unused:
        assert Endpoint(unused, host, 80).is_loopback is loopback


def test_a_port_that_is_taken_and_what_is_no_address_are_one_line(hierfl: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(RunFailed, match="another program uses the port"):
            listen(f"127.0.0.1:{port}")
        done = hierfl("run", "--page", f"127.0.0.1:{port}", "--set", "data.dataset=digits")
        assert done.code == 1
        assert done.err.startswith(f"error: --page 127.0.0.1:{port}: another program uses the port")
        assert not Path("runs").exists()
    for wrong in ("127.0.0.1:99999", "a b:80", "192.0.2.1:0"):
        with pytest.raises(ConfigError, match=f"--page {wrong}"):
            listen(wrong)
    assert hierfl("run", "--page", "nowhere:99999").code == 2


def test_a_reader_that_does_not_read_holds_up_nobody(tmp_path: Path) -> None:
    with page(tmp_path) as shown:
        host, port = re.findall(r"//(.*):(\d+)/", shown.url)[0]
        with socket.create_connection((host, int(port))) as stuck:
            stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stuck.sendall(f"GET /events HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
            begin = time.monotonic()
            for number in range(20_000):
                shown.handle(step("east", 1, number))
                if number % 10 == 0:
                    shown.handle(evaluated(1 + number // 10))
            assert time.monotonic() - begin < 5
            assert len(shown._waiting) <= ROOM
            assert get(shown.url)[0] == 200
            begin = time.monotonic()
            shown.close()
            assert time.monotonic() - begin < 8
