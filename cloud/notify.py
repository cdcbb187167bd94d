"""Tells somebody what has changed: a command that reads it, or a webhook that it is posted to."""

from __future__ import annotations

import json
import logging
import subprocess
import threading
import urllib.request
from collections.abc import Callable
from queue import Full, Queue

log = logging.getLogger(__name__)

LONGEST_S = 30.0
"""Seconds that a command, or the other end of a webhook, may take."""

MOST_WAITING = 100


class Notifier:
    """Hands on one message after the other, in a thread of its own, while entered.

    Args:
        target: a shell command, which reads the message from its standard input; or an http(s)
            address, to which {"text": MESSAGE} is posted.
    """

    def __init__(self, target: str) -> None:
        web = target.startswith(("http://", "https://"))
        self._send: Callable[[str, str], None] = _post if web else _pipe
        self._target = target
        self._waiting: Queue[str | None] = Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)

    def __enter__(self) -> Notifier:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._waiting.put_nowait(None)
        except Full:  # nobody listens: what waits is lost
            return
        self._thread.join(LONGEST_S)

    def tell(self, message: str) -> None:
        """Send a message soon; it is left out if too many wait."""
        try:
            self._waiting.put_nowait(message)
        except Full:
            log.warning("notify: too many messages wait, one is left out")

    def _run(self) -> None:
        while (message := self._waiting.get()) is not None:
            try:
                self._send(self._target, message)
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                log.warning("notify failed: %s", error)


def _pipe(command: str, message: str) -> None:
    subprocess.run(
        command,
        shell=True,
        input=message + "\n",
        text=True,
        timeout=LONGEST_S,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _post(address: str, message: str) -> None:
    request = urllib.request.Request(
        address,
        json.dumps({"text": message}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=LONGEST_S):
        pass
