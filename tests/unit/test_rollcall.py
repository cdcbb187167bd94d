"""Who is there, and whether the run above goes on, where there are no links."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
from flwr.app import Context, RecordDict
from flwr.proto.node_pb2 import NodeInfo

from deploy.flower import above, app
from deploy.flower.above import Above
from deploy.flower.joining import Invitation
from deploy.flower.rollcall import call
from hierfl.errors import RunFailed
from hierfl.link.child import Child
from hierfl.link.flower import RunStatus, run_status
from hierfl.link.memory import MemoryGrid

INVITATION = Invitation("east", "", "token", 0.0)


class SuperLink(MemoryGrid):
    """Nodes that answer at once; one is registered under the name it is given here.

    Args:
        registered: that name, and the one in the node config, "" for none, of each node.
    """

    def __init__(self, *registered: tuple[str, str]) -> None:
        self._registered = [name for name, _ in registered]
        children = {
            f"node-{number}": Child(
                app.client, Context(1, number, {"name": own} if own else {}, RecordDict(), {})
            )
            for number, (_, own) in enumerate(registered, start=1)
        }
        super().__init__(children)

    def get_nodes(self) -> Iterable[NodeInfo]:
        for node_id in self.get_node_ids():
            yield NodeInfo(node_id=node_id, name=self._registered[node_id - 1])


def test_nodes_are_known_by_the_name_that_they_say_or_are_registered_under() -> None:
    found = call(SuperLink(("", "b"), ("c", ""), ("z", "a")), INVITATION, 3, "devices")
    assert found.node_ids == {"a": 3, "b": 1, "c": 2}
    assert found.facts["c"] == {"name": "c"} and found.seconds >= 0


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([("", "a"), ("a", "")], "two nodes are called a"),
        ([("", "a"), ("", "")], "the SuperNode 2 has no name"),
        ([("", "a")], "1 of 2 devices are attached to this SuperLink"),
    ],
    ids=["twice", "nameless", "few"],
)
def test_who_cannot_be_told_apart_is_refused(nodes: list[tuple[str, str]], words: str) -> None:
    with pytest.raises(RunFailed, match=re.escape(words)):
        call(SuperLink(*nodes), INVITATION, 2, "devices")


def test_what_the_look_raises_ends_the_waiting() -> None:
    def look() -> None:
        raise RunFailed("it is over")

    with pytest.raises(RunFailed, match="it is over"):
        call(SuperLink(), INVITATION, 1, "devices", look)


def follow(monkeypatch: pytest.MonkeyPatch, *known: str) -> Above:
    """Follow a run of which this is known, one after the other; "": nothing."""
    states = [RunStatus(*words.split(":"), details="") if words else None for words in known]
    monkeypatch.setattr(above, "EVERY_S", 0.0)
    monkeypatch.setattr(above, "run_status", lambda superlink, run_id: lambda: states.pop(0))
    return Above(7)


def test_a_run_ends_with_the_one_above(monkeypatch: pytest.MonkeyPatch) -> None:
    followed = follow(monkeypatch, "running:", "", "finished:completed", "finished:stopped")
    assert [followed.over() for _ in range(3)] == [False, False, True]
    with pytest.raises(RunFailed, match="the cloud's run has stopped"):
        followed.over()


def test_silence_counts_where_nothing_can_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(above, "IDLE_S", -1.0)
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
