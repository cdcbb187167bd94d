"""What a parent tells its children in the one message that Flower carries, and who they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flwr.app import ConfigRecord, Context, Message, RecordDict

from hierfl.config import Config, read_config
from hierfl.errors import ConfigError, PayloadError
from hierfl.link import link_pb2 as pb
from hierfl.link.rendezvous import enter
from hierfl.tls.identity import Identity

TYPE = "query.join"

PATIENCE_S = 15.0
"""Seconds without its parent after which a node gives up: Flower sends for it again."""


@dataclass(frozen=True)
class Invitation:
    """ "Come to my link."

    Attributes:
        parent: the parent's name.
        address: of its lobby and link.
        token: the secret of both.
        wait: seconds to wait in the lobby.
        config: the federation's configuration, YAML; "" while it gathers in the lobby.
        registered: the name under which the node is registered, "" if under none.
    """

    parent: str
    address: str
    token: str
    wait: float
    config: str = ""
    registered: str = ""

    def to_message(self, node_id: int, kind: str = TYPE) -> Message:
        """Return it as a message for a node."""
        content = RecordDict({"invitation": ConfigRecord(dict(vars(self)))})
        return Message(content, node_id, kind)

    @classmethod
    def from_message(cls, message: Message) -> Invitation:
        """Undo `to_message`.

        Raises:
            PayloadError: it is none.
        """
        try:
            values: dict[str, Any] = dict(message.content.config_records["invitation"])
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise PayloadError(f"a message that is no invitation: {error}") from None


@dataclass(frozen=True)
class Node:
    """What a SuperNode's node config says of the node that it is.

    Attributes:
        name: its name in the federation.
        certs: the folder of its certificates; None: plain text.
        config: the rest.
    """

    name: str
    certs: Path | None
    config: Mapping[str, Any]

    @classmethod
    def of(cls, context: Context, registered: str) -> Node:
        """Return the node whose SuperNode runs this.

        Raises:
            ConfigError: it has no name.
        """
        config = context.node_config
        name = str(config.get("name", "") or registered)
        if not name:
            raise ConfigError(
                "name",
                f"the SuperNode {context.node_id} has no name",
                "Start it with --node-config 'name=\"...\"', or register it with --name.",
            )
        certs = config.get("certs")
        return cls(name, Path(str(certs)).expanduser() if certs else None, config)

    def identity(self) -> Identity | None:
        """Return what it shows its peers; None where they talk in plain text.

        Raises:
            ConfigError: its certificate cannot serve.
        """
        return None if self.certs is None else Identity.read(self.certs, self.name)

    def join(
        self, invitation: Invitation, address: str = "", devices: list[str] | None = None
    ) -> str:
        """Return the federation's configuration, YAML, as soon as it is known.

        Args:
            invitation: the parent's.
            address: where this node's own children dial it.
            devices: their names.

        Raises:
            LinkError: if the parent cannot be reached, or does not let it in.
        """
        entry = pb.Entry(name=self.name, token=invitation.token, address=address, devices=devices)
        identity = self.identity()
        towards = identity.towards(invitation.parent) if identity else None
        return enter(invitation.address, entry, invitation.wait, towards)

    def local(self, text: str) -> Config:
        """Return the federation's configuration with what is this node's own."""
        config = read_config(text)
        root = self.config.get("data-root")
        return config.model_copy(
            update={
                "security": config.security.model_copy(update={"certs": self.certs}),
                "data": config.data.model_copy(update={"root": Path(str(root)) if root else None}),
            }
        )


def state_folder(home: Path, config: Config) -> Path:
    """Return where a node of a federation keeps its checkpoints on this machine."""
    return home / "hierfl" / config.name
