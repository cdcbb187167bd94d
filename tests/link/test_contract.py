"""What holds on every transport alike: one contract for MemoryGrid, LinkGrid and polling."""

from __future__ import annotations

import io
import logging
import random
from collections.abc import Sequence

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode

import hierfl.link.serializer
from hierfl.link import flower_compat
from hierfl.link import link_pb2 as pb
from hierfl.numerics.signs import pack
from tests.link.conftest import Grow
from tests.link.logs import On
from tests.link.trees import Tree, say, text

LOG = logging.getLogger("hierfl.link")

SHORT_S = 0.05
"""A timeout that is meant to pass."""


# -- identifiers ---------------------------------------------------------------------------------


def test_children_are_numbered_in_the_order_of_their_names(grow: Grow) -> None:
    tree = grow(("zoe", "adam", "mary"))
    assert tree.grid.names == {1: "zoe", 2: "adam", 3: "mary"}
    assert sorted(tree.grid.get_node_ids()) == [1, 2, 3]


def test_each_child_hears_what_is_meant_for_it(tree: Tree) -> None:
    replies = tree.grid.send_and_receive([say(f"to {n}", n) for n in (3, 1, 2)])
    assert {r.metadata.src_node_id: text(r) for r in replies} == {
        1: "a heard to 1",
        2: "b heard to 2",
        3: "c heard to 3",
    }


def test_a_child_knows_its_number(tree: Tree) -> None:
    replies = tree.grid.send_and_receive([say("", n, "query.node") for n in (1, 2, 3)])
    assert [text(r) for r in replies] == ["1", "2", "3"]


def test_a_reply_bears_its_request_s_metadata(tree: Tree) -> None:
    request = tree.grid.create_message(say("x", 2).content, "query.echo", 2, "4.7")
    (reply,) = tree.grid.send_and_receive([request])
    assert reply.metadata.reply_to_message_id == request.metadata.message_id != ""
    assert (reply.metadata.src_node_id, reply.metadata.dst_node_id) == (2, 0)
    assert (reply.metadata.group_id, reply.metadata.message_type) == ("4.7", "query.echo")


def test_no_two_messages_have_the_same_identifier(tree: Tree) -> None:
    ids = [*tree.grid.push_messages([say("x", n) for n in (1, 1, 2)]), *tree.grid.push_messages([])]
    ids += tree.grid.push_messages([say("x", 1)])
    assert len(set(ids)) == len(ids) == 4


@pytest.mark.parametrize("node_id", [0, 4, -1])
def test_an_unknown_node_is_an_error_and_nothing_is_sent(tree: Tree, node_id: int) -> None:
    with pytest.raises(ValueError, match=str(node_id)):
        tree.grid.push_messages([say("x", 1), say("x", node_id)])
    (reply,) = tree.grid.send_and_receive([say("y", 1)])
    assert text(reply) == "a heard y"
    assert tree.ran["a"] == ["query.echo"]
    assert tree.grid.ledger.total("down").frames == 1


# -- push and pull -------------------------------------------------------------------------------


def test_pull_does_not_wait(tree: Tree) -> None:
    tree.hold("b")
    ids = tree.grid.push_messages([say("x", 2)])
    assert tree.grid.pull_messages(ids) == []
    tree.release("b")
    assert pull_all(tree, ids) == ["b heard x"]


def test_pull_hands_each_reply_out_once_and_keeps_the_others(tree: Tree) -> None:
    ids = tree.grid.push_messages([say(str(n), n) for n in (1, 2, 3)])
    assert pull_all(tree, ids[2:]) == ["c heard 3"]
    assert tree.grid.pull_messages(ids[2:]) == []
    assert sorted(pull_all(tree, ids[:2])) == ["a heard 1", "b heard 2"]


def test_a_pushed_request_waits_beside_a_stream(tree: Tree) -> None:
    ids = tree.grid.push_messages([say("pushed", 1)])
    assert [text(r) for r in tree.grid.send_and_receive([say("sent", 1)])] == ["a heard sent"]
    assert pull_all(tree, ids) == ["a heard pushed"]


def pull_all(tree: Tree, ids: Sequence[str]) -> list[str]:
    """Pull until all replies are there; replies to other requests are waited for in between."""
    got: list[Message] = []
    while len(got) < len(ids):
        got += tree.grid.pull_messages(ids)
        tree.grid.send_and_receive([say("next", n) for n in tree.grid.names])
    return [text(reply) for reply in got]


# -- waiting -------------------------------------------------------------------------------------


def test_many_requests_to_one_child_are_answered_in_their_order(tree: Tree) -> None:
    replies = tree.grid.stream([say(str(i), 1) for i in range(20)])
    assert [text(r) for r in replies] == [f"a heard {i}" for i in range(20)]


def test_replies_are_yielded_as_they_arrive(tree: Tree) -> None:
    tree.hold("a")
    replies = tree.grid.stream([say("x", n) for n in (1, 2, 3)])
    first = {text(next(replies)), text(next(replies))}
    assert first == {"b heard x", "c heard x"}
    tree.release("a")
    assert [text(r) for r in replies] == ["a heard x"]


def test_send_and_receive_returns_replies_in_the_order_of_the_children(tree: Tree) -> None:
    tree.hold("a")
    tree.grid.members.quorum = 3
    with On(LOG, "still waiting for a", lambda: tree.release("a")) as log:
        replies = tree.grid.send_and_receive([say("x", n) for n in (2, 1, 3)], timeout=SHORT_S)
    assert [reply.metadata.src_node_id for reply in replies] == [1, 2, 3]
    assert log.seen == ["still waiting for a"]


def test_nothing_sent_is_nothing_received(tree: Tree) -> None:
    assert tree.grid.send_and_receive([]) == []
    assert tree.grid.send_and_receive([], timeout=0.0) == []


def test_a_timeout_is_a_timeout_without_a_quorum(tree: Tree) -> None:
    tree.hold("b")
    replies = tree.grid.send_and_receive([say("x", n) for n in (1, 2, 3)], timeout=SHORT_S)
    tree.release("b")
    assert {text(r) for r in replies} <= {"a heard x", "c heard x"}


def test_beyond_the_timeout_the_quorum_is_waited_for(grow: Grow) -> None:
    tree = grow(quorum=1.0)
    tree.hold("b")
    with On(LOG, "still waiting for", lambda: tree.release("b")) as log:
        replies = tree.grid.send_and_receive([say("x", n) for n in (1, 2, 3)], timeout=SHORT_S)
    assert sorted(text(r) for r in replies) == ["a heard x", "b heard x", "c heard x"]
    assert log.seen[-1] == "still waiting for b"
    assert tree.grid.faults().late == 0


def test_beyond_the_timeout_the_quorum_is_enough(grow: Grow) -> None:
    tree = grow(quorum=0.6)
    assert tree.grid.members.quorum == 2
    tree.hold("b")
    replies = tree.grid.send_and_receive([say("x", n) for n in (1, 2, 3)], timeout=SHORT_S)
    assert [text(r) for r in replies] == ["a heard x", "c heard x"]
    tree.release("b")


@pytest.mark.parametrize("timeout", [0.0, 1e-9])
def test_a_timeout_of_nothing_still_ends(grow: Grow, timeout: float) -> None:
    tree = grow(quorum=1.0)
    replies = tree.grid.send_and_receive([say("x", n) for n in (1, 2, 3)], timeout=timeout)
    assert len(replies) == 3


def test_a_reply_that_is_there_counts_even_if_the_timeout_has_passed(tree: Tree) -> None:
    tree.hold("b")
    replies = tree.grid.stream([say("x", n) for n in (1, 2)], timeout=SHORT_S)
    assert text(next(replies)) == "a heard x"
    tree.release("b")
    (other,) = tree.grid.send_and_receive([say("y", 2)])  # b's answer to x came before this
    assert text(other) == "b heard y"
    assert [text(r) for r in replies] == ["b heard x"]
    assert tree.grid.faults().late == 0


def test_a_late_reply_is_counted_and_dropped_and_the_next_request_answered(tree: Tree) -> None:
    tree.hold("b")
    tree.grid.members.quorum = 2
    assert len(tree.grid.send_and_receive([say("x", n) for n in (1, 2, 3)], timeout=SHORT_S)) == 2
    assert tree.grid.faults().late == 0
    tree.release("b")
    replies = tree.grid.send_and_receive([say("y", n) for n in (1, 2, 3)])
    assert [text(r) for r in replies] == ["a heard y", "b heard y", "c heard y"]
    assert tree.grid.faults().late == 1
    assert tree.ran["b"] == ["query.echo"] * 2
    assert_counts_agree(tree)


def test_a_stream_that_is_left_early_makes_the_rest_late(tree: Tree) -> None:
    tree.hold("b")
    replies = tree.grid.stream([say("x", n) for n in (1, 2)])
    assert text(next(replies)) == "a heard x"
    replies.close()
    tree.release("b")
    assert [text(r) for r in tree.grid.send_and_receive([say("y", 2)])] == ["b heard y"]
    assert tree.grid.faults().late == 1


# -- apps that fail ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("query.fail", "RuntimeError: boom"),
        ("query.unknown", "ValueError"),
        ("query.nothing", "NoneType"),
        ("query.stranger", "no reply to its message"),
        ("query.unspeakable", "Error"),
        ("query.surrogate", "OSError: no file"),
    ],
)
def test_an_app_that_fails_is_an_error_reply(tree: Tree, kind: str, reason: str) -> None:
    failed, fine = tree.grid.send_and_receive([say("boom", 1, kind), say("x", 2)])
    assert failed.has_error() and not failed.has_content()
    assert failed.error.code == ErrorCode.CLIENT_APP_RAISED_EXCEPTION
    assert reason in str(failed.error.reason)
    assert failed.metadata.src_node_id == 1
    assert text(fine) == "b heard x"
    assert [text(r) for r in tree.grid.send_and_receive([say("y", 1)])] == ["a heard y"]
    assert tree.grid.faults().rejected == 0
    assert_counts_agree(tree)


def test_a_child_that_is_sent_away_leaves_error_replies_behind(tree: Tree) -> None:
    tree.hold("b")
    replies = tree.grid.stream([say("x", n) for n in (1, 2, 3)])
    assert {text(next(replies)), text(next(replies))} == {"a heard x", "c heard x"}
    for times in (1, 2, 3):
        tree.grid.members.readmit("b")
        assert tree.grid.suspend(2, "it told lies") == (times == 3)
    (error,) = replies
    assert error.metadata.src_node_id == 2
    assert "b was sent away: it told lies" in str(error.error.reason)
    assert (tree.grid.faults().rejected, tree.grid.faults().late) == (3, 0)
    tree.leaves_for_good("b")


# -- repetition ----------------------------------------------------------------------------------


def test_a_repeated_request_is_answered_from_memory(tree: Tree) -> None:
    tree.grid.send_and_receive([say("x", 1)])
    child, (request,) = tree.children["a"], tree.heard["a"]
    sent = child.sent.frames, child.sent.messages
    once, twice = child.answer_message(request), child.answer_message(request)
    assert once == twice
    assert text(flower_compat.message_from_bytes(pb.Frame.FromString(once).message)) == "a heard x"
    assert tree.ran["a"] == ["query.echo"]
    assert (child.sent.frames, child.sent.messages) == sent == (1, len(once))


# -- bytes ---------------------------------------------------------------------------------------


def test_a_shared_content_is_serialized_once(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    serialized = []

    def spy(content: RecordDict) -> bytes:
        serialized.append(content)
        return flower_compat.content_to_bytes(content)

    monkeypatch.setattr(hierfl.link.serializer, "content_to_bytes", spy)
    shared, other = say("all", 1).content, say("one", 1).content
    messages = [Message(shared, n, "query.echo") for n in (1, 2, 3)]
    replies = tree.grid.send_and_receive([*messages, Message(other, 1, "query.echo")])
    assert [text(r) for r in replies] == [
        "a heard all",
        "a heard one",
        "b heard all",
        "c heard all",
    ]
    assert len(serialized) == 2
    assert serialized[0] is shared
    assert serialized[1] is other


def test_a_content_that_changed_is_serialized_again(tree: Tree) -> None:
    content = say("first", 1).content
    tree.grid.send_and_receive([Message(content, 1, "query.echo")])
    content["say"] = ConfigRecord({"text": "second"})
    (reply,) = tree.grid.send_and_receive([Message(content, 1, "query.echo")])
    assert text(reply) == "a heard second"


def bulk_app(name: str) -> ClientApp:
    """Return an app whose replies carry payload in every form, some of it its name's."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        config = ConfigRecord({"one": name.encode() * 10, "many": [b"ab", b"", b"cde"], "x": 1.5})
        arrays = ArrayRecord([np.arange(7.0), np.zeros((2, 3), np.float32)])
        return Message(RecordDict({"c": config, "a": arrays}), reply_to=message)

    return app


def npy(array: np.ndarray) -> int:
    file = io.BytesIO()
    np.save(file, array)
    return len(file.getvalue())


def test_payload_is_bytes_values_and_arrays(grow: Grow) -> None:
    tree = grow(("east", "w"), bulk_app)
    content = RecordDict(
        {
            "one": ConfigRecord({"bits": b"12345", "text": "not payload", "n": [1, 2, 3]}),
            "two": ConfigRecord({"list": [b"xyz", b"12"], "none": b"", "texts": ["a"]}),
            "arrays": ArrayRecord([np.ones((5, 2))]),
        }
    )
    tree.grid.send_and_receive([Message(content, n, "train") for n in (1, 2)])
    down = 5 + 5 + npy(np.ones((5, 2)))
    up = 5 + npy(np.arange(7.0)) + npy(np.zeros((2, 3), np.float32))
    counts = tree.grid.ledger.counts
    assert [counts[name]["down"].payload for name in ("east", "w")] == [down, down]
    assert [counts[name]["up"].payload for name in ("east", "w")] == [up + 40, up + 10]
    assert_counts_agree(tree)


@pytest.mark.parametrize("d", [1, 7, 8, 9, 1003])
def test_the_payload_of_a_sign_vector_is_its_bits(grow: Grow, d: int) -> None:
    signs = pack(np.random.default_rng(d).standard_normal(d).astype(np.float32))
    app = ClientApp()

    @app.train()
    def vote(message: Message, context: Context) -> Message:
        assert message.content.config_records["decision"]["bits"] == signs.tobytes()
        return Message(RecordDict({"v": ConfigRecord({"b": signs.tobytes()})}), reply_to=message)

    tree = grow(("a", "b"), lambda name: app)
    content = RecordDict({"decision": ConfigRecord({"bits": signs.tobytes()})})
    replies = tree.grid.send_and_receive([Message(content, n, "train") for n in (1, 2)])
    assert not any(reply.has_error() for reply in replies)
    traffic = tree.grid.ledger.traffic()
    assert traffic.up.payload == traffic.down.payload == 2 * ((d + 7) // 8)


def test_the_ledger_counts_what_was_said(tree: Tree) -> None:
    rng = random.Random(5)
    for _ in range(10):
        nodes = rng.sample([1, 2, 3], rng.randint(1, 3))
        tree.grid.send_and_receive([say("x" * rng.randint(0, 40000), n) for n in nodes])
    assert_counts_agree(tree)


def assert_counts_agree(tree: Tree) -> None:
    """Compare the parent's ledger with each child's own count and with what it heard."""
    for name, counts in tree.grid.ledger.counts.items():
        down = [frame_length(len(data)) for data in tree.heard[name]]
        assert (counts["down"].frames, counts["down"].messages) == (len(down), sum(down))
        assert counts["up"] == tree.children[name].sent


def frame_length(data: int) -> int:
    """The length of a frame with a message of so many bytes: a key, a varint and the message."""
    return 1 + max(1, -(-data.bit_length() // 7)) + data
