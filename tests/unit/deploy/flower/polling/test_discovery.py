"""Who is there, and whether the run above goes on, where there are no links."""

from __future__ import annotations

import re

import pytest
from flwr.supercore.run import RunStatus

from deploy.flower.invitation import Invitation
from deploy.flower.polling import run_monitor
from deploy.flower.polling.discovery import call
from deploy.flower.polling.run_monitor import Above
from hierfl.errors import RunFailed
from hierfl.link.flower_compat import run_status
from tests.unit.deploy.flower.local_superlink import LocalSuperLink

INVITATION = Invitation("east", "", "token", 0.0)


def nodes(*names: tuple[str, str]) -> LocalSuperLink:
    """Nodes with these registered names, and these in their node configs; "": none."""
    return LocalSuperLink(*((name, {"name": own} if own else {}) for name, own in names))


def test_nodes_are_known_by_the_name_that_they_say_or_are_registered_under() -> None:
    found = call(nodes(("", "b"), ("c", ""), ("z", "a")), INVITATION, 3, "devices")
    assert found.node_ids == {"a": 3, "b": 1, "c": 2}
    assert found.facts["c"] == {"name": "c"} and found.seconds >= 0


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([("", "a"), ("a", "")], "two nodes are called a"),
        ([("", "a"), ("", "")], "the SuperNode 2 has no name"),
        ([("", "a")], "1 of 2 devices are attached to this SuperLink"),
    ],
    ids=["twice", "nameless", "few"],
)
def test_who_cannot_be_told_apart_is_refused(names: list[tuple[str, str]], words: str) -> None:
    with pytest.raises(RunFailed, match=re.escape(words)):
        call(nodes(*names), INVITATION, 2, "devices")


def test_what_the_look_raises_ends_the_waiting() -> None:
    def look() -> None:
        raise RunFailed("it is over")

    with pytest.raises(RunFailed, match="it is over"):
        call(nodes(), INVITATION, 1, "devices", look)


def status(state: str, end: str = "") -> RunStatus:
    return RunStatus(state, end, "")


def follow(monkeypatch: pytest.MonkeyPatch, *known: str) -> Above:
    """Follow a run of which this is known, one after the other; "": nothing."""
    states = [status(*words.split(":")) if words else None for words in known]
    monkeypatch.setattr(run_monitor, "EVERY_S", 0.0)
    monkeypatch.setattr(run_monitor, "run_status", lambda superlink, run_id: lambda: states.pop(0))
    return Above(7)


def test_a_run_ends_with_the_one_above(monkeypatch: pytest.MonkeyPatch) -> None:
    followed = follow(monkeypatch, "running:", "", "finished:completed", "finished:stopped")
    assert [followed.over() for _ in range(3)] == [False, False, True]
    with pytest.raises(RunFailed, match="the cloud's run has stopped"):
        followed.over()


def test_silence_counts_where_nothing_can_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_monitor, "IDLE_S", -1.0)
    followed = follow(monkeypatch, "running:", "", "")
    assert not followed.over()
    with followed.heard_of():
        assert not followed.over()  # a question takes as long as it takes
    with pytest.raises(RunFailed, match="nothing was heard of the cloud's run"):
        followed.over()


def test_nothing_is_known_without_a_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("FLWR_HOME", str(tmp_path))
    assert run_status("cloud", 7)() is None
