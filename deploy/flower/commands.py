"""The command lines of SuperLinks and SuperNodes."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.launcher.process import Command
from hierfl.config.addresses import split

Value = bool | float | int | str


@dataclass(frozen=True)
class SuperLink:
    """A parent's SuperLink.

    Attributes:
        name: the parent, "cloud" or an edge; also the name of the connection to it.
        address: its listening address.
        certs: the folder of the parent's certificates; None: plain text, and every SuperNode is
            admitted.
    """

    name: str
    address: str
    certs: Path | None

    def command(self, logs: Path) -> Command:
        """Return the command that starts it."""
        host, port = split(self.address)
        arguments = ["--host", host, "--port", str(port)]
        arguments.append("--disable-runtime-dependency-installation")
        if self.certs is None:
            arguments.append("--insecure")
        else:
            arguments += ["--ssl-ca-certfile", str(self.certs / "ca.crt")]
            arguments += ["--ssl-certfile", str(self.certs / f"{self.name}.crt")]
            arguments += ["--ssl-keyfile", str(self.certs / f"{self.name}.key")]
            arguments.append("--enable-supernode-auth")
        label = f"superlink-{self.name}"
        program = [script("flower-superlink"), *arguments]
        return Command("cloud", label, program, logs / f"{label}.log")

    def connection(self) -> str:
        """Return its entry in Flower's configuration, TOML."""
        secure = "insecure = true"
        if self.certs is not None:
            secure = f"root-certificates = {json.dumps(str(self.certs / 'ca.crt'))}"
        return f'[superlink.{json.dumps(self.name)}]\naddress = "{self.address}"\n{secure}\n'


@dataclass(frozen=True)
class SuperNode:
    """A child's SuperNode.

    Attributes:
        role: edge or device.
        name: the child's name.
        superlink: address of its parent's SuperLink.
        address: its address for its own processes on this machine.
        certs: the folder of its certificates; None: plain text.
        config: its node config without the name and the certificates.
    """

    role: str
    name: str
    superlink: str
    address: str
    certs: Path | None
    config: Mapping[str, Value]

    def command(self, logs: Path) -> Command:
        """Return the command that starts it."""
        host, port = split(self.address)
        config = {"name": self.name, **self.config}
        if self.certs is not None:
            config["certs"] = str(self.certs)
        words = " ".join(f"{key}={json.dumps(value)}" for key, value in config.items())
        arguments = ["--superlink", self.superlink, "--node-config", words]
        arguments += ["--host", host, "--port", str(port)]
        if self.certs is None:
            arguments.append("--insecure")
        else:
            arguments += ["--root-certificates", str(self.certs / "ca.crt")]
            key = str(self.certs / f"{self.name}.ssh")
            arguments += ["--auth-supernode-private-key", key]
        label = f"supernode-{self.name}"
        program = [script("flower-supernode"), *arguments]
        return Command(self.role, label, program, logs / f"{label}.log")


def edge_node(
    name: str, superlink: str, address: str, certs: Path | None, devices: int, link_address: str
) -> SuperNode:
    """Return an edge's SuperNode; the connection to its own SuperLink has its name."""
    config: dict[str, Value] = {"superlink": name, "devices": devices, "link-address": link_address}
    return SuperNode("edge", name, superlink, address, certs, config)


def device_node(
    name: str,
    superlink: str,
    address: str,
    certs: Path | None,
    data_root: Path | None,
    config: Mapping[str, Value],
) -> SuperNode:
    """Return a device's SuperNode; without `data_root`, data is in the default folder."""
    if data_root is not None:
        config = {"data-root": str(data_root.absolute()), **config}
    return SuperNode("device", name, superlink, address, certs, config)


def script(name: str) -> str:
    """Return the path of a Flower program: beside this Python if it exists there."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else name
