"""Trees that are taken down again, and a check that nothing is left of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing

import pytest

from tests.link.trees import LIMIT_S, TREES, MakeApp, Tree, echo_app

Grow = Callable[..., Tree]


@pytest.fixture(params=TREES)
def grow(request: pytest.FixtureRequest) -> Iterator[Grow]:
    """Return what makes a tree on either transport."""
    with ExitStack() as stack:

        def make(
            names: Sequence[str] = ("a", "b", "c"),
            make_app: MakeApp = echo_app,
            quorum: float = 0.0,
        ) -> Tree:
            tree = TREES[request.param](names, make_app, quorum)
            return stack.enter_context(closing(tree))

        yield make


@pytest.fixture
def tree(grow: Grow) -> Tree:
    """A parent with three children that answer with `echo_app`."""
    return grow()


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """Check that a test's threads, of the grid and of the clients, have ended."""
    before = set(threading.enumerate())
    yield
    due = time.monotonic() + LIMIT_S
    for thread in set(threading.enumerate()) - before:
        # gRPC keeps one thread of its own for the whole process.
        if "poller" not in thread.name.lower() and not thread.name.startswith("Thread-"):
            thread.join(max(0.0, due - time.monotonic()))
            assert not thread.is_alive(), thread
