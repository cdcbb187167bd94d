"""The one message that a parent sends a child through Flower, and the child's identity."""

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
"""Seconds without its parent after which a node gives up; Flower starts it again."""


@dataclass(frozen=True)
class Invitation:
    """Tells a child to connect to its parent's link.

    Attributes:
        parent: the parent's name.
        address: the address of its rendezvous and its link.
        token: the secret of both.
        wait: seconds to wait at the rendezvous.
        config: the federation's configuration, YAML; "" while nodes gather at the rendezvous.
        registered: the name under which the node is registered, or "".
    """

    parent: str
    address: str
    token: str
    wait: float
    config: str = ""
    registered: str = ""

    def to_message(self, node_id: int, kind: str = TYPE) -> Message:
        """Return the message for a node."""
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
            raise PayloadError(f"a message that is not an invitation: {error}") from None


@dataclass(frozen=True)
class Node:
    """A node, as described by the node config of its SuperNode.

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
            ConfigError: if it has no name.
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
        """Return its identity; None where links are plain text.

        Raises:
            ConfigError: if its certificate is not valid.
        """
        return None if self.certs is None else Identity.read(self.certs, self.name)

    def join(
        self, invitation: Invitation, address: str = "", devices: list[str] | None = None
    ) -> str:
        """Wait at the parent's rendezvous; return the federation's configuration, YAML.

        Args:
            invitation: the parent's invitation.
            address: the address at which this node's own children connect to it.
            devices: the names of its children.

        Raises:
            LinkError: if the parent cannot be reached, or refuses this node.
        """
        entry = pb.Entry(name=self.name, token=invitation.token, address=address, devices=devices)
        identity = self.identity()
        towards = identity.towards(invitation.parent) if identity else None
        return enter(invitation.address, entry, invitation.wait, towards)

    def local(self, text: str) -> Config:
        """Return the federation's configuration with this node's certificates and data.

        Its data are in the folder that its node config names, else in the run config's `data.root`.
        """
        config = read_config(text)
        root = self.config.get("data-root")
        data = config.data.model_copy(update={"root": Path(str(root)).expanduser()})
        return config.model_copy(
            update={
                "security": config.security.model_copy(update={"certs": self.certs}),
                "data": data if root else config.data,
            }
        )


def state_folder(home: Path, config: Config) -> Path:
    """Return the folder of a federation's checkpoints on this machine."""
    return home / "hierfl" / config.name
