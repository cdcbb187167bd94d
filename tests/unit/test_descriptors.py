"""The limit of open files, and what the moment refuses."""

from __future__ import annotations

import errno
import resource

import pytest

from hierfl.link.channel_options import STREAMS, server_options
from hierfl.process import descriptors, patience
from hierfl.process.descriptors import most_connections, raise_limit
from hierfl.process.patience import patiently


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, int]]:
    """Stand in for the process's limits."""
    held = {"now": (1024, 1024)}
    monkeypatch.setattr(resource, "getrlimit", lambda which: held["now"])

    def set_(which: int, limits: tuple[int, int]) -> None:
        assert which == resource.RLIMIT_NOFILE and limits[0] <= limits[1]
        held["now"] = limits

    monkeypatch.setattr(resource, "setrlimit", set_)
    return held


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((1024, 20_000), (20_000, 20_000)),
        ((1024, 1 << 20), (descriptors.ENOUGH, 1 << 20)),
        ((1024, 1024), (1024, 1024)),
        ((1 << 20, 1 << 20), (1 << 20, 1 << 20)),
    ],
)
def test_the_soft_limit_is_raised_and_never_lowered(
    limits: dict[str, tuple[int, int]], before: tuple[int, int], after: tuple[int, int]
) -> None:
    limits["now"] = before
    raise_limit()
    assert limits["now"] == after


@pytest.mark.parametrize("limit", [8, 64, 256, 1024, 20_000])
@pytest.mark.parametrize("children", [1, 3, 100, 5000])
def test_connections_leave_some_of_the_budget(
    limits: dict[str, tuple[int, int]], limit: int, children: int
) -> None:
    limits["now"] = (limit, limit)
    assert 1 <= most_connections(children) <= limit - min(descriptors.RESERVE, limit // 2)


def test_a_parent_of_many_has_room_for_all(limits: dict[str, tuple[int, int]]) -> None:
    limits["now"] = (20_000, 20_000)
    assert most_connections(1000) >= 2000


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOSPC])
def test_what_passes_is_waited_for(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LOOK_S", 0.0)
    lacks = iter([OSError(number, "not now")] * 3)

    def write() -> str:
        for lack in lacks:
            raise lack
        return "done"

    assert patiently(write, "write it") == "done"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EIO])
def test_what_does_not_pass_is_raised_at_once(number: int) -> None:
    calls = []

    def write() -> None:
        calls.append(1)
        raise OSError(number, "never")

    with pytest.raises(OSError, match="never"):
        patiently(write, "write it")
    assert calls == [1]


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LOOK_S", 0.01)

    def write() -> None:
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        patiently(write, "write it", 0.05)


def test_a_parent_s_server_bounds_connections_and_their_streams(
    limits: dict[str, tuple[int, int]],
) -> None:
    options = dict(server_options(1 << 20, 10.0, 3))
    assert options["grpc.max_allowed_incoming_connections"] == most_connections(3) < 1024
    assert options["grpc.max_concurrent_streams"] == STREAMS
