"""Whatever a stranger does to a port, the children that are attached get their messages."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack

import pytest

from benchmarks._outsider_attacks import ATTACKS
from hierfl.link.client import LinkClient
from hierfl.link.link_grid import LinkGrid
from tests.link.trees import LIMIT_S, Leaf, echo_app, say, text

HEAVY = {"300 MB in 300 kB", "10,000 streams", "a frame of 100 MB", "SETTINGS flood"}
"""Attacks that take the attacker seconds."""


@pytest.fixture(scope="module")
def stranger() -> Iterator[Executor]:
    """A process of its own: of an event loop that ends in gRPC's midst, the next one hears."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        yield process


def attacks(name: str, port: int, seconds: float) -> None:
    ATTACKS[name](port, time.monotonic() + seconds)


@pytest.fixture
def grid() -> Iterator[tuple[LinkGrid, int]]:
    """A parent with two children, and its port."""
    with ExitStack() as leaves, LinkGrid("127.0.0.1:0", ["east-0", "b"]) as parent:
        address = parent.open(max_frame=50_000)
        for name in ("east-0", "b"):
            leaf = Leaf(LinkClient(address, name, echo_app(name)), name)
            leaves.callback(leaf.join)
        while parent.missing():
            parent.wait_for_children(0.01)
        yield parent, int(address.rpartition(":")[2])


@pytest.mark.parametrize(
    "attack",
    [pytest.param(name, marks=[pytest.mark.slow] if name in HEAVY else []) for name in ATTACKS],
)
def test_the_others_are_served(grid: tuple[LinkGrid, int], stranger: Executor, attack: str) -> None:
    parent, port = grid
    stranger.submit(attacks, attack, port, 0.1).result(LIMIT_S)
    assert parent.missing() == []
    replies = parent.send_and_receive([say("x", n) for n in (1, 2)], timeout=LIMIT_S)
    assert [text(reply) for reply in replies] == ["east-0 heard x", "b heard x"]
