"""Trees that are taken down again, and a check that nothing is left of them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing

import pytest

from tests.link.trees import LIMIT_S, TREES, MakeApp, MakeVote, Tree, echo_app, no_vote

Grow = Callable[..., Tree]


@pytest.fixture(params=TREES)
def grow(request: pytest.FixtureRequest) -> Iterator[Grow]:
    """Return what makes a tree on each transport."""
    with ExitStack() as stack:

        def make(
            names: Sequence[str] = ("a", "b", "c"),
            make_app: MakeApp = echo_app,
            quorum: float = 0.0,
            make_vote: MakeVote = no_vote,
        ) -> Tree:
            tree = TREES[request.param](names, make_app, quorum, make_vote)
            return stack.enter_context(closing(tree))

        yield make


@pytest.fixture
def tree(grow: Grow) -> Tree:
    """A parent with three children that answer with `echo_app`."""
    return grow()


OURS = ("link", "tunnel", "leaf", "wire", "raw parent", "waiting")
"""How the threads of a grid, of the clients and of the tests' own peers are called."""


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """Check that a test's threads have ended."""
    yield
    due = time.monotonic() + LIMIT_S
    for thread in threading.enumerate():
        if thread.name.startswith(OURS):
            thread.join(max(0.0, due - time.monotonic()))
            assert not thread.is_alive(), thread


class Complaints(logging.Handler):
    """The errors that the event loop and gRPC log: nobody has caught them."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(self.format(record))


@pytest.fixture(autouse=True)
def _no_exception_is_lost() -> Iterator[None]:
    """Check that whatever a peer does, no exception falls through to gRPC or asyncio."""
    complaints = Complaints()
    loggers = [logging.getLogger(name) for name in ("asyncio", "grpc", "grpc._cython.cygrpc")]
    for logger in loggers:
        logger.addHandler(complaints)
    yield
    for logger in loggers:
        logger.removeHandler(complaints)
    assert not complaints.heard
