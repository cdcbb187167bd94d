"""Who a SuperNode is, and what the app answers where it cannot be one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from flwr.app import Context, Message, RecordDict

from deploy.flower import app
from deploy.flower.invitation import Invitation, Node
from hierfl.config import load_config
from hierfl.errors import ConfigError, PayloadError
from hierfl.link.base_grid import RUN_ID
from hierfl.link.flower_compat import assume_identity

INVITATION = Invitation("east", "127.0.0.1:1", "token", 5.0, registered="pi-7")
assume_identity(RUN_ID)


def context(**node_config: str | int) -> Context:
    return Context(1, 42, dict(node_config), RecordDict(), {})


def test_an_invitation_survives_the_journey() -> None:
    assert Invitation.from_message(INVITATION.to_message(42)) == INVITATION
    with pytest.raises(PayloadError, match="not an invitation"):
        Invitation.from_message(Message(RecordDict(), 42, "query.join"))


def test_the_node_config_names_a_node_before_the_registry_does() -> None:
    assert Node.of(context(name="east-0"), "pi-7").name == "east-0"
    assert Node.of(context(), "pi-7").name == "pi-7"


def test_a_node_without_a_name_is_told_how_to_get_one() -> None:
    with pytest.raises(ConfigError, match="the SuperNode 42 has no name") as caught:
        Node.of(context(), "")
    assert "--node-config" in str(caught.value.hint)


def test_what_is_a_nodes_own_stays_its_own(tmp_path: Path) -> None:
    node = Node.of(context(name="east-0", certs=str(tmp_path), **{"data-root": "/data"}), "")
    config = node.local(load_config(None, ["data.root=/elsewhere"]).to_yaml())
    assert config.security.certs == tmp_path and config.data.root == Path("/data")
    plain = Node.of(context(name="east-0"), "").local(load_config(None).to_yaml())
    assert plain.security.certs is None and plain.data.root is None
    told = Node.of(context(name="east-0"), "")
    config = told.local(load_config(None, ["data.root=/d/{name}"]).to_yaml())
    assert config.data_root("east-0") == Path("/d/east-0")


def reply_to(context: Context, invitation: Invitation = INVITATION) -> str:
    message = invitation.to_message(42)
    message.metadata.__dict__["_message_id"] = "1"
    reply = app.join(message, context)
    assert reply.has_error()
    return str(reply.error.reason)


def test_a_nameless_node_is_one_line_at_its_parent() -> None:
    nameless = Invitation(**{**vars(INVITATION), "registered": ""})
    assert reply_to(context(), nameless) == "name: the SuperNode 42 has no name"


def test_a_missing_package_is_one_line_at_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(node: Node, invitation: Invitation, home: Path) -> None:
        raise ModuleNotFoundError("No module named 'torch'")

    monkeypatch.setattr("deploy.flower.device.device", missing)
    assert reply_to(context()) == "a package is missing on this node: No module named 'torch'"


def test_another_flower_on_a_node_is_one_line_at_the_parent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [*sys.modules]:
        if name.startswith(("deploy.flower.", "hierfl.link")) and sys.modules[name] is not app:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.43.0")
    said = "Flower 1.43.0 is installed, and hierfl needs flwr>=1.41,<1.43"
    assert reply_to(context()) == said


def test_an_edge_whose_superlink_has_no_connection_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLWR_HOME", str(tmp_path))
    said = reply_to(context(name="east", superlink="nowhere"))
    assert "edge east could not start a run at its SuperLink" in said and "nowhere" in said
