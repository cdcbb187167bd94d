"""Flower's private names: where a new Flower moves one, this file fails first and says which."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import tomllib
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as MessageProto
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

import hierfl

ROOT = Path(hierfl.__file__).parents[1]


def imported() -> list[tuple[str, str]]:
    """Return (module, name) of all that hierfl.link.flower_compat imports from Flower."""
    tree = ast.parse((ROOT / "hierfl/link/flower_compat.py").read_text())
    return [
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("flwr")
        for alias in node.names
    ]


def test_this_flower_is_one_that_the_package_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (flwr,) = [r for r in map(Requirement, project["dependencies"]) if r.name == "flwr"]
    version = importlib.metadata.version("flwr")
    assert flwr.specifier.contains(version), f"flwr {version} is not in {flwr.specifier}"


@pytest.mark.parametrize(("module", "name"), imported())
def test_flower_still_has(module: str, name: str) -> None:
    try:
        found = importlib.import_module(module)
    except ImportError:
        pytest.fail(f"Flower has moved the module {module}, from which {name} is imported")
    assert hasattr(found, name), f"Flower has moved {module}.{name}"


def test_private_modules_are_imported_here_alone() -> None:
    assert {module for module, _ in imported()} > {"flwr.common.serde_utils"}


# The rest needs the module itself, which is imported only where the names are known to be there.


@pytest.fixture
def flower() -> object:
    module = importlib.import_module("hierfl.link.flower_compat")
    module.assume_identity(1)
    return module


def test_what_is_relied_on_beside_names(flower) -> None:  # type: ignore[no-untyped-def]
    request = Message(RecordDict(), 7, "train", group_id="3.1")
    assert request.metadata.message_id == ""
    flower.stamp(request, "mine")
    assert request.metadata.message_id == "mine"
    reply = Message(RecordDict(), reply_to=request)
    assert reply.metadata.reply_to_message_id == "mine"
    assert (reply.metadata.src_node_id, reply.metadata.group_id) == (7, "3.1")
    error = flower.error_reply(request, "boom")
    assert error.has_error() and error.error.reason == "boom"
    assert flower.Run.create_empty(5).run_id == 5


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
INTS = st.integers(-(2**63), 2**64 - 1)
FLOATS = st.floats(allow_nan=False)


def values(*kinds: st.SearchStrategy) -> st.SearchStrategy:
    return st.one_of(*kinds, *(st.lists(kind, max_size=4) for kind in kinds))


CONFIGS = st.dictionaries(
    TEXTS,
    values(st.integers(-(2**63), 2**63 - 1), FLOATS, TEXTS, st.binary(max_size=9), st.booleans())
    | st.integers(2**63, 2**64 - 1)
    | FLOATS.map(np.float64),
    max_size=5,
).map(ConfigRecord)
METRICS = st.dictionaries(TEXTS, values(st.integers(0, 99), FLOATS), max_size=4).map(MetricRecord)
ARRAYS = st.lists(
    st.lists(st.floats(width=32, allow_nan=False), max_size=5).map(
        lambda items: np.array(items, np.float32)
    ),
    max_size=3,
).map(ArrayRecord)
CONTENTS = st.one_of(
    st.dictionaries(TEXTS, CONFIGS, max_size=3),
    st.dictionaries(TEXTS, st.one_of(CONFIGS, METRICS, ARRAYS), max_size=3),
).map(RecordDict)


@given(CONTENTS)
def test_the_bytes_are_those_that_flower_reads(content: RecordDict) -> None:
    from hierfl.link import flower_compat

    flower_compat.assume_identity(1)
    message = Message(content, 3, "query", group_id="1.2")
    for data in (
        flower_compat.message_to_bytes(message),
        flower_compat.message_to_bytes(message, flower_compat.content_to_bytes(content)),
    ):
        again = message_from_proto(MessageProto.FromString(data))
        assert again.content == content
        assert again.metadata == message.metadata
        assert typed(again.content) == typed(flower_compat.message_from_bytes(data).content)


@given(CONTENTS)
def test_what_flower_writes_is_read(content: RecordDict) -> None:
    from hierfl.link import flower_compat

    flower_compat.assume_identity(1)
    message = Message(content, 3, "query", group_id="1.2")
    again = flower_compat.message_from_bytes(message_to_proto(message).SerializeToString())
    assert again.content == content and again.metadata == message.metadata


def typed(content: RecordDict) -> list[object]:
    """Return a content with the types that `==` does not tell apart."""
    return [
        (key, type(record), [(name, type(value), value) for name, value in record.items()])
        for key, record in content.items()
    ]


@given(st.integers(0, 8), TEXTS)
def test_errors_travel(code: int, reason: str) -> None:
    from hierfl.link import flower_compat

    flower_compat.assume_identity(1)
    request = Message(RecordDict(), 3, "query")
    message = Message(Error(code, reason), reply_to=request)
    again = flower_compat.message_from_bytes(flower_compat.message_to_bytes(message))
    assert again.error.code == code and again.error.reason == (reason or None)
    assert not again.has_content()
