"""The rendezvous: who waits there is told of the whole federation, and nobody else is."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import pytest

import hierfl.link.rendezvous
from hierfl.errors import LinkError, PeerRefused, RunFailed
from hierfl.link import link_pb2 as pb
from hierfl.link.link_grid import LinkGrid
from hierfl.link.rendezvous import Rendezvous, enter
from tests.link.raw import RawChild, hello
from tests.link.trees import LIMIT_S

TOKEN = "6f" * 16


def entry(name: str, token: str = TOKEN, *devices: str) -> pb.Entry:
    return pb.Entry(name=name, token=token, address="here:1", devices=devices)


def entering(
    pool: ThreadPoolExecutor, rendezvous: Rendezvous, *entries: pb.Entry
) -> list[Future[str]]:
    return [pool.submit(enter, rendezvous.address, one, LIMIT_S) for one in entries]


def test_all_are_told_as_soon_as_all_are_there() -> None:
    with ThreadPoolExecutor(2) as pool, Rendezvous("127.0.0.1:0", TOKEN, 2) as rendezvous:
        waiting = entering(pool, rendezvous, entry("west"), entry("east", TOKEN, "east-0"))
        found = rendezvous.wait(2, LIMIT_S)
        assert found is not None
        assert [(one.name, list(one.devices)) for one in found] == [
            ("east", ["east-0"]), ("west", []),
        ]  # fmt: skip
        assert not any(one.done() for one in waiting)
        rendezvous.answer("seed: 7")
        assert [one.result(LIMIT_S) for one in waiting] == ["seed: 7"] * 2


def test_who_comes_too_late_for_the_others_is_not_waited_for() -> None:
    with ThreadPoolExecutor(1) as pool, Rendezvous("127.0.0.1:0", TOKEN, 2) as rendezvous:
        (waiting,) = entering(pool, rendezvous, entry("east"))
        assert rendezvous.wait(1, LIMIT_S) is not None
        assert rendezvous.wait(2, 0.1) is None
        assert rendezvous.names() == ["east"]
        rendezvous.answer("")
        waiting.result(LIMIT_S)


@pytest.mark.parametrize(
    ("who", "words"),
    [
        (entry("east", "6e" * 16), "does not know the run's token"),
        (entry("east", ""), "does not know the run's token"),
        (entry("east", "\u00fc"), "does not know the run's token"),
        (entry(""), "a node without a name"),
    ],
)
def test_strangers_are_refused(who: pb.Entry, words: str) -> None:
    with Rendezvous("127.0.0.1:0", TOKEN, 1) as rendezvous:
        with pytest.raises(PeerRefused, match=words):
            enter(rendezvous.address, who, LIMIT_S)
        assert rendezvous.names() == []


def test_a_second_node_of_a_name_is_refused_and_the_first_one_waits_on() -> None:
    with ThreadPoolExecutor(1) as pool, Rendezvous("127.0.0.1:0", TOKEN, 2) as rendezvous:
        (first,) = entering(pool, rendezvous, entry("east"))
        assert rendezvous.wait(1, LIMIT_S) is not None
        with pytest.raises(PeerRefused, match="no two nodes may have one name"):
            enter(rendezvous.address, entry("east"), LIMIT_S)
        rendezvous.answer("yes")
        assert first.result(LIMIT_S) == "yes"


def test_what_the_check_raises_ends_the_waiting() -> None:
    def check() -> None:
        raise RunFailed("west has failed")

    with (
        Rendezvous("127.0.0.1:0", TOKEN, 1) as rendezvous,
        pytest.raises(RunFailed, match="west has failed"),
    ):
        rendezvous.wait(1, LIMIT_S, check)


def test_an_address_where_nobody_listens_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hierfl.link.rendezvous, "REACH_S", 0.2)
    with Rendezvous("127.0.0.1:0", TOKEN, 1) as rendezvous:
        address = rendezvous.address
    with pytest.raises(LinkError, match=f"east cannot join its parent at {address}") as caught:
        enter(address, entry("east"), LIMIT_S)
    assert "link-address" in str(caught.value.hint)


def test_the_link_opens_where_the_lobby_was() -> None:
    with Rendezvous("127.0.0.1:0", TOKEN, 1) as rendezvous:
        address = rendezvous.address
    with LinkGrid(address, ["a"], token=TOKEN) as grid:
        assert grid.open() == address


@pytest.mark.parametrize("token", ["", "6e" * 16, TOKEN[:-1], "\u00fc"])
def test_a_link_with_a_token_admits_nobody_without(token: str) -> None:
    with LinkGrid("127.0.0.1:0", ["a"], token=TOKEN) as grid:
        address = grid.open()
        with RawChild(address, hello("a", token=token)) as stranger:
            assert "does not know the token" in stranger.dismissed().reason
        with RawChild(address, hello("a", token=TOKEN)) as child:
            assert child.welcomed().node_id == 1
        assert grid.faults().rejected == 1
