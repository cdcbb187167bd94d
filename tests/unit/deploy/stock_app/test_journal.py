"""A cloud that is started again: its ServerApp is answered from the journal, then by its nodes."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict

from deploy.stock_app.journal import Journal, digest
from hierfl.link.flower_compat import assume_identity, error_reply

ARRAYS = ArrayRecord([np.arange(6, dtype=np.float32)])


def asked(number: int, order: int = 1) -> list[Message]:
    """What a strategy sends: one content for all nodes."""
    assume_identity(1)
    content = RecordDict({"arrays": ARRAYS, "config": ConfigRecord({"server-round": number})})
    return [Message(content, node, "train") for node in (1, 2)][::order]


def answered(messages: list[Message]) -> list[Message]:
    first, second = messages
    return [Message(RecordDict({"arrays": ARRAYS}), reply_to=first), error_reply(second, "no")]


def test_a_second_process_gets_the_same_replies_until_it_asks_for_another(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    for number in (1, 2, 3):
        assert first.recall(digest(asked(number))) is None
        first.keep(digest(asked(number)), answered(asked(number)))
    second = Journal(tmp_path)
    assert (second.run, second.kept) == (first.run, 3)
    replies = second.recall(digest(asked(1, order=-1)))  # nodes are sampled in any order
    assert replies is not None
    assert replies[0].content == answered(asked(1))[0].content
    assert replies[1].error.reason == "no"
    assert second.recall(digest(asked(4))) is None
    assert second.kept == 0  # what follows belongs to another course of the run
    second.keep(digest(asked(4)), answered(asked(4)))
    third = Journal(tmp_path)
    assert third.recall(digest(asked(1))) and third.recall(digest(asked(4)))
    third.close()
    assert not tmp_path.exists()


@pytest.mark.parametrize("at", [0, 40, 100, -1])
def test_a_damaged_file_ends_it(at: int, tmp_path: Path) -> None:
    first = Journal(tmp_path)
    for number in (1, 2):
        first.keep(digest(asked(number)), answered(asked(number)))
    file = tmp_path / "000001.replies"
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
    second = Journal(tmp_path)
    assert second.recall(digest(asked(1))) is None and second.kept == 0


def test_random_draws_of_the_app_are_the_same_in_each_process(tmp_path: Path) -> None:
    drawn = []
    for _ in range(2):
        Journal(tmp_path).seed()
        drawn.append((random.random(), np.random.random()))
    assert drawn[0] == drawn[1]
