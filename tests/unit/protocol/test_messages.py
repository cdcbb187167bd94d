"""What nodes say to each other: every content comes back as it was, and nothing else does."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from hierfl.errors import PayloadError
from hierfl.link import flower_compat
from hierfl.protocol.messages import (
    Base,
    BaseAck,
    Content,
    OutOfSync,
    Redo,
    Redone,
    Report,
    Round,
    answer,
    from_content,
    questions,
    reply,
    round_of,
    to_content,
)

flower_compat.assume_identity(1)

KINDS: list[type[Any]] = [Base, BaseAck, Round, Redo, Redone, Report, OutOfSync]
INT = st.integers(0, 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
BY_TYPE: dict[str, st.SearchStrategy] = {
    "bool": st.booleans(),
    "int": INT,
    "float": st.floats(allow_nan=False, allow_infinity=False, width=32),
    "str": TEXT,
    "bytes": st.binary(max_size=20),
    "list[int]": st.lists(INT, max_size=7),
    "list[bytes]": st.lists(st.binary(max_size=5), max_size=4),
}
CONTENTS = st.one_of(
    [st.builds(kind, **{f.name: BY_TYPE[str(f.type)] for f in fields(kind)}) for kind in KINDS]
)


def content_of(kind: type[Any], values: dict[str, Any]) -> RecordDict:
    """Return a content as some other program might write it."""
    return RecordDict({kind.__name__: ConfigRecord(values)})


def question(content: Base | Round | Redo, node_id: int, round_: int) -> Message:
    return next(questions({node_id: content}, round_))


def over_the_wire(content: RecordDict) -> RecordDict:
    """Return a content as the other end reads it."""
    message = Message(content, 1, "query")
    return flower_compat.message_from_bytes(flower_compat.message_to_bytes(message)).content


@given(CONTENTS)
def test_contents_come_back_as_they_were(content: Content) -> None:
    kind: Any = type(content)
    assert from_content(kind, to_content(content)) == content
    assert from_content(kind, over_the_wire(to_content(content))) == content


@given(CONTENTS)
def test_contents_are_what_flower_would_accept(content: Content) -> None:
    for record in to_content(content).values():
        assert isinstance(record, ConfigRecord)
        assert ConfigRecord(dict(record.items())) == record


@given(CONTENTS)
def test_default_values_are_not_sent(content: Content) -> None:
    (record,) = to_content(content).values()
    kind: Any = type(content)
    required = {f.name: getattr(content, f.name) for f in fields(kind) if f.name in needed(kind)}
    plain = kind(**required)
    told = {f.name for f in fields(kind) if getattr(content, f.name) != getattr(plain, f.name)}
    assert set(record) == told | set(required)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, 3.5e38, -3.5e38])
def test_a_loss_that_is_no_float32_is_refused(loss: float) -> None:
    with pytest.raises(PayloadError, match="Report with loss out of bounds"):
        from_content(Report, over_the_wire(to_content(Report(b"x", 1, loss, 1))))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_counts_less_than_0(kind: type[Any]) -> None:
    values = {f.name: EXAMPLES[str(f.type)] for f in fields(kind)}
    for field in fields(kind):
        less = {"int": -1, "list[int]": [3, -1]}.get(str(field.type))
        if less is not None:
            content = content_of(kind, {**values, field.name: less})
            with pytest.raises(PayloadError, match=f"{kind.__name__} with {field.name} out of"):
                from_content(kind, content)


def test_more_than_was_asked_for_is_refused() -> None:
    content = to_content(OutOfSync(3, 2))
    content["Redone"] = ConfigRecord()
    with pytest.raises(PayloadError, match="a message that is no Redone"):
        answer(content, Redone, OutOfSync)


def test_a_received_list_is_its_own() -> None:
    first, second = (from_content(Redo, to_content(Redo(30, 3))) for _ in range(2))
    first.decisions.append(b"x")
    assert second.decisions == [] == Redo(30, 3).decisions


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_required_must_be_there(kind: type[Any]) -> None:
    values = {f.name: EXAMPLES[str(f.type)] for f in fields(kind)}
    for missing in values:
        record = {name: value for name, value in values.items() if name != missing}
        content = content_of(kind, record)
        if missing in needed(kind):
            with pytest.raises(PayloadError, match=f"{kind.__name__} without {missing}"):
                from_content(kind, content)
        else:
            assert from_content(kind, content) == kind(**record)


EXAMPLES: dict[str, Any] = {
    "bool": True,
    "int": 7,
    "float": 1.5,
    "str": "text",
    "bytes": b"bytes",
    "list[int]": [1, 2],
    "list[bytes]": [b"a", b"b"],
}


def needed(kind: type[Any]) -> set[str]:
    """Return the names of a content's required fields."""
    try:
        kind()
    except TypeError as error:
        return {f.name for f in fields(kind) if f"'{f.name}'" in str(error)}
    return set()


@pytest.mark.parametrize("kind", KINDS)
def test_fields_of_another_type_are_refused(kind: type[Any]) -> None:
    values = {f.name: EXAMPLES[str(f.type)] for f in fields(kind)}
    others = [*EXAMPLES.values(), True, [True], [1.5], ["x"]]
    for field in fields(kind):
        for other in others:
            if other is EXAMPLES[str(field.type)]:
                continue
            content = content_of(kind, {**values, field.name: other})
            with pytest.raises(PayloadError, match=f"{kind.__name__} with {field.name} of type"):
                from_content(kind, content)


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_fields_are_refused(kind: type[Any]) -> None:
    values = {f.name: EXAMPLES[str(f.type)] for f in fields(kind)}
    content = content_of(kind, {**values, "extra": 1})
    with pytest.raises(PayloadError, match=f"{kind.__name__} with extra of type int"):
        from_content(kind, content)


@pytest.mark.parametrize(
    "content",
    [
        RecordDict(),
        RecordDict({"other": ConfigRecord()}),
        RecordDict({kind.__name__: MetricRecord({"lr": 1}) for kind in KINDS}),
    ],
)
def test_another_record_is_refused(content: RecordDict) -> None:
    for kind in KINDS:
        with pytest.raises(PayloadError, match=f"a message that is no {kind.__name__}"):
            from_content(kind, content)


def test_an_answer_is_of_one_of_some_kinds() -> None:
    for content in (BaseAck("0f", 1), OutOfSync(3, 2)):
        assert answer(to_content(content), BaseAck, OutOfSync) == content
    for other in (to_content(Redone()), RecordDict()):
        with pytest.raises(PayloadError, match="a message that is no BaseAck"):
            answer(other, BaseAck, OutOfSync)
    with pytest.raises(PayloadError, match="OutOfSync without round"):
        answer(content_of(OutOfSync, {}), BaseAck, OutOfSync)


# -- messages ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "kind"),
    [(Base(lr=1), "train.base"), (Round(), "train.round"), (Redo(30, 3), "train.redo")],
)
def test_a_question_says_what_and_when(content: Base | Round | Redo, kind: str) -> None:
    message = question(content, 5, 12)
    assert message.metadata.dst_node_id == 5
    assert message.metadata.message_type == kind
    assert round_of(message) == 12
    assert from_content(type(content), message.content) == content


def test_a_reply_belongs_where_its_question_does() -> None:
    ack = reply(question(Base(lr=1), 5, 12), BaseAck("0f", 3))
    assert round_of(ack) == 12
    assert ack.metadata.src_node_id == 5
    assert from_content(BaseAck, ack.content) == BaseAck("0f", 3)


def test_children_that_are_told_the_same_share_a_content() -> None:
    shared, own = Base(3, b"x"), Base(3, b"x")
    messages = list(questions({1: shared, 2: own, 3: shared}, 4))
    assert [m.metadata.dst_node_id for m in messages] == [1, 2, 3]
    assert messages[0].content is messages[2].content
    assert messages[1].content is not messages[0].content
    assert messages[1].content == messages[0].content


@given(st.integers(0, 10**9 - 1))
def test_rounds(round_: int) -> None:
    assert round_of(question(Round(), 1, round_)) == round_


@pytest.mark.parametrize("group", ["", "1.", ".1", "1.2", "-1", "1 ", "a", "٣", "1\n", "9" * 10])
def test_a_message_without_a_round_is_refused(group: str) -> None:
    message = Message(RecordDict(), 1, "train", group_id=group)
    with pytest.raises(PayloadError, match="a message of the group"):
        round_of(message)
