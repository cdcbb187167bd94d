"""A headless Chromium, driven over its DevTools protocol."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

LIMIT_S = 60


class Tab:
    """One tab.

    Attributes:
        complaints: what the browser's console has said.
    """

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._number = 0
        self.complaints: list[str] = []
        self.call("Runtime.enable")
        self.call("Log.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, and return its result."""
        self._number += 1
        self._socket.send(
            json.dumps({"id": self._number, "method": method, "params": parameters})
        )  # fmt: skip
        while True:
            answer = json.loads(self._socket.recv(timeout=LIMIT_S))
            if answer.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.complaints.append(json.dumps(answer["params"]))
            if answer.get("id") == self._number:
                result: dict[str, Any] = answer.get("result", {})
                return result

    def open(self, url: str, width: int = 1280, theme: str = "light") -> None:
        """Open a page."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=800, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": theme}],
        )
        self.call("Page.navigate", url=url)

    def reload(self) -> None:
        """Reload the page, and return when the old one is gone and the new one has loaded."""
        self.value("window.stale = true")
        self.call("Page.reload")
        self.wait_for("!window.stale && document.readyState === 'complete'")

    def value(self, expression: str) -> Any:
        """Return what a JavaScript expression comes to."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """Wait until an expression is true."""
        end = time.monotonic() + LIMIT_S
        while not (value := self.value(expression)):
            assert time.monotonic() < end, f"not so within {LIMIT_S} s: {expression}"
            time.sleep(0.1)
        return value

    def text(self, selector: str) -> str:
        """Return the text of an element."""
        return str(self.value(f"document.querySelector({selector!r})?.innerText"))

    def picture(self, file: Path) -> None:
        """Save a screenshot of the whole page."""
        width, height = self.value(
            "[document.documentElement.clientWidth, document.documentElement.scrollHeight]"
        )
        shot = self.call(
            "Page.captureScreenshot",
            captureBeyondViewport=True,
            clip={"x": 0, "y": 0, "width": width, "height": height, "scale": 1},
        )
        file.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def chromium() -> Iterator[Tab]:
    """Start Chromium; the test is skipped where there is none."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium")
    client = pytest.importorskip("websockets.sync.client")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu",
             "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        try:
            assert browser.stderr is not None
            line = next(line for line in browser.stderr if "DevTools listening on" in line)
            port = re.findall(r":(\d+)/", line)[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=LIMIT_S) as tabs:
                tab = next(one for one in json.load(tabs) if one["type"] == "page")
            with client.connect(tab["webSocketDebuggerUrl"], max_size=None) as socket:
                yield Tab(socket)
        finally:
            browser.terminate()
            browser.communicate(timeout=LIMIT_S)
