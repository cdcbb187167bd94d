"""With certificates a parent admits its own children, and a child serves its own parent alone."""

from __future__ import annotations

import logging
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import pytest

import hierfl.link.client
from hierfl.errors import LinkError
from hierfl.link import link_pb2 as pb
from hierfl.link.client import LinkClient
from hierfl.link.identity import Towards
from hierfl.link.server import LinkGrid
from tests.link.logs import On
from tests.link.nodes import Federation
from tests.link.raw import RawChild, Wire, hello
from tests.link.trees import LIMIT_S, Leaf, echo_app, say, text

HEARTBEAT_S = 2.0
SERVER_LOG = logging.getLogger("hierfl.link.server")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    return Federation(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Federation]:
    """Federations with the same names whose certificates are no good at home, by reason."""

    def beside(home_key: Federation, **life: float) -> Federation:
        folder = tmp_path_factory.mktemp("other")
        for name in ("ca.crt", "ca.key"):
            (folder / name).write_bytes((home_key.folder / name).read_bytes())
        return Federation(folder, **life)  # type: ignore[arg-type]

    old = Federation(tmp_path_factory.mktemp("old"), starts=-60)
    return {
        "foreign": Federation(tmp_path_factory.mktemp("foreign")),
        "home": old,
        "expired": beside(old, starts=-40, days=30),
        "early": beside(old, starts=5),
    }


@dataclass
class Cloud:
    """A parent with two honest children, and who is known to be there."""

    grid: LinkGrid
    address: str
    presence: list[tuple[str, bool]]
    turned_away: On
    noticed: threading.Semaphore

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def refuses(self, reason: str, peer: str = r"ipv4:127\.0\.0\.1:\d+") -> None:
        """See that exactly one peer was turned away, and that nothing else has happened."""
        assert self.noticed.acquire(timeout=LIMIT_S), "nobody was turned away"
        (line,) = self.turned_away.seen
        assert re.fullmatch(rf"turned away {peer}: .*{reason}.*", line), line
        assert self.grid.rejected == 1
        assert self.presence == [("a", True), ("b", True)]
        replies = self.grid.send_and_receive([say("x", n) for n in (1, 2)])
        assert [text(reply) for reply in replies] == ["a heard x", "b heard x"]
        assert (self.grid.reconnects, self.grid.restarts, self.grid.late) == (0, 0, 0)
        assert self.grid.ledger.counts.keys() == {"a", "b"}


@pytest.fixture
def cloud(others: dict[str, Federation]) -> Iterator[Cloud]:
    presence: list[tuple[str, bool]] = []
    noticed = threading.Semaphore(0)
    home = others["home"]
    ours = {name: fresh(home, name, others) for name in ("cloud", "a", "b")}
    with ExitStack() as stack:
        grid = LinkGrid(
            "127.0.0.1:0",
            ["a", "b", "c"],
            credentials=ours["cloud"],
            heartbeat=HEARTBEAT_S,
            on_presence=lambda *news: presence.append(news),
        )
        leaves = stack.enter_context(ExitStack())
        address = stack.enter_context(grid).open()
        for name in ("a", "b"):
            there = LinkClient(
                address, name, echo_app(name), credentials=ours[name].towards("cloud")
            )
            leaf = Leaf(there, name)
            leaves.callback(lambda leaf=leaf: leaf.join())
            while ("b" if name == "b" else "a") in grid.missing():
                grid.wait_for_children(0.01)
        seen = stack.enter_context(On(SERVER_LOG, "turned away", noticed.release))
        yield Cloud(grid, address, presence, seen, noticed)


def fresh(home: Federation, name: str, others: dict[str, Federation]) -> object:
    raise NotImplementedError
