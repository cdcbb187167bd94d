"""What peers can make a node log."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from hierfl.link import log_throttle
from hierfl.link.link_grid import LinkGrid
from hierfl.link.log_throttle import EACH, IN_ALL, WINDOW_S, LogThrottle


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_one_peer_cannot_fill_a_log_and_does_not_silence_the_others() -> None:
    throttle = LogThrottle(Clock())
    lines = [throttle.line(f"ipv4:10.0.0.1:{port}", "no") for port in range(1000)]
    assert [line for line in lines if line] == ["no"] * EACH
    assert throttle.line("ipv4:10.0.0.2:7", "no") == "no"


def test_all_peers_together_cannot_fill_a_log() -> None:
    throttle = LogThrottle(Clock())
    lines = [throttle.line(f"ipv6:[fd00::{host:x}]:1", "no") for host in range(5000)]
    assert len([line for line in lines if line]) == IN_ALL
    assert len(throttle._lines) <= IN_ALL


def test_the_next_window_says_what_was_left_out() -> None:
    clock = Clock()
    throttle = LogThrottle(clock)
    for _ in range(EACH + 5):
        throttle.line("a", "no")
    clock.now = WINDOW_S
    assert throttle.line("a", "no") == "no (5 more lines like this were left out)"
    assert throttle.line("a", "no") == "no"


def test_progress_that_is_none_does_not_fill_a_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_throttle, "WINDOW_S", 1e9)

    def broken(child: str, progress: bytes) -> Any:
        raise ValueError("no JSON")

    caplog.set_level(logging.DEBUG)
    grid = LinkGrid("127.0.0.1:0", ["a"], on_progress=broken)
    for _ in range(1000):
        grid._progress("a", b"{")
    assert len(caplog.records) == EACH
