"""A topology as a compose file: one container per node, one network per parent.

A parent listens at every address of its container, and its children reach it by its name. Its
network connects it with its children only, so a device cannot reach the cloud.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.project.own_code import OwnCode, own_code
from hierfl.config import CLOUD, Config, Security, load_config
from hierfl.config.folder import as_written
from hierfl.config.yaml_dialect import Dumper
from hierfl.planning.plan import resolve
from hierfl.tls.policy import revocation_file
from hierfl.tls.revocation import FILE

PORT = 9400
RESTARTS = 10
"""How often a container is restarted; a node with a wrong configuration fails each time."""

DATA_VOLUME = "hierfl-data"

HEADER = """\
# {topology} in containers, made by: hierfl compose {arguments}
# Paths are relative to this file. See docs/containers.md.
"""


@dataclass(frozen=True)
class Node:
    """One container.

    Attributes:
        role: the command that it runs: cloud, edge or device.
        name: the node's name, which is its host name.
        networks: its networks, by the parent's name.
        sets: addresses, as keys of the topology.
        data: whether it reads the data set.
    """

    role: str
    name: str
    networks: tuple[str, ...]
    sets: Mapping[str, str]
    data: bool


def compose(topology: Path, sets: Sequence[str]) -> str:
    """Return the compose file of a topology.

    Args:
        topology: its file, relative to the folder of the compose file.
        sets: `key=value` strings for all nodes.

    Raises:
        ConfigError: if the topology is wrong.
    """
    config = load_config(topology, sets)
    resolve(
        config.model_copy(update={"security": Security(insecure=True)})
    )  # certificates are mounted below
    everybody, code = list(nodes(config)), own_code(config)
    tree = {
        "name": re.sub("[^a-z0-9_-]", "-", config.name.lower()),
        "services": {node.name: _service(node, config, topology, sets, code) for node in everybody},
        "networks": {name: {"internal": True} for name in (CLOUD, *config.tree())},
        "volumes": {
            DATA_VOLUME: {"external": True},
            **{f"{node.name}-state": {} for node in everybody},
        },
    }
    arguments = " ".join([str(topology), *(f"--set '{text}'" for text in sets)])
    header = HEADER.format(topology=topology.name, arguments=arguments)
    if code.requirements:
        header += f"# The image must have {', '.join(code.requirements)}.\n"
    return header + yaml.dump(
        tree, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=96
    )


def nodes(config: Config) -> Iterator[Node]:
    """Return the containers of a topology, parents before children."""
    here, to_cloud = f"0.0.0.0:{PORT}", {"cloud.address": f"{CLOUD}:{PORT}"}
    root = config.data_root(CLOUD)
    judges = config.data.partition.kind != "own" or (root is not None and root.is_dir())
    judges = judges and config.app is None  # whose data are its own affair
    yield Node("cloud", CLOUD, (CLOUD,), {"cloud.address": here}, data=judges)
    for i, edge in enumerate(config.edges):
        key = f"edges.{i}.address"
        yield Node("edge", edge.name, (CLOUD, edge.name), {**to_cloud, key: here}, data=False)
        for device in edge.devices:
            found = {key: f"{edge.name}:{PORT}"}
            yield Node("device", device, (edge.name,), found, data=config.app is None)


def _service(
    node: Node, config: Config, topology: Path, sets: Sequence[str], code: OwnCode
) -> dict[str, Any]:
    own = dict(node.sets)
    mounts = [f"{_source(topology)}:/topology.yaml:ro"]
    if not config.security.insecure:
        own["security.certs"] = "/certs"
        certs = config.security.certs or Path("certs")
        files = ("ca.crt", f"{node.name}.crt", f"{node.name}.key")
        mounts += [
            f"{_source(_from_here(config, certs / file))}:/certs/{file}:ro" for file in files
        ]
        revoked = revocation_file(config)
        if node.role != "device" and revoked is not None and revoked.exists():
            mounts.append(f"{_source(_from_here(config, revoked))}:/certs/{FILE}:ro")
        if config.security.revoked is not None:
            own["security.revoked"] = f"/certs/{FILE}"
    if node.data:
        own["data.root"] = "/data"
        root = config.data_root(node.name)
        source = _source(_from_here(config, root)) if root else f"${{HIERFL_DATA:-{DATA_VOLUME}}}"
        mounts.append(f"{source}:/data:ro")
    if code.sources:
        own["folder"] = "/code"
    if config.app is not None:
        own["app.path"] = f"/code/{code.sources[0]}"
    here = Path(os.path.relpath(code.root))
    mounts += [f"{_source(here / source)}:/code/{source}:ro" for source in code.sources]
    place = ["--out", f"/state/{config.name}"] if node.role == "cloud" else ["--state", "/state"]
    command = [node.role, "/topology.yaml", "--name", node.name, *place]
    for text in (*sets, *(f"{key}={value}" for key, value in own.items())):
        command += ["--set", text.replace("$", "$$")]  # compose would replace $NAME
    return {
        "image": "${HIERFL_IMAGE:-hierfl}",
        "command": _Line(command),
        "restart": f"on-failure:{RESTARTS}",
        "cap_drop": _Line(["ALL"]),
        "security_opt": _Line(["no-new-privileges:true"]),
        "networks": _Line(node.networks),
        "volumes": [*mounts, f"{node.name}-state:/state"],
        **({"working_dir": "/code"} if code.sources else {}),
    }


def _from_here(config: Config, path: Path) -> Path:
    """Return a path, relative to the compose file where the topology has it relative."""
    written = as_written(config, path)
    return path if written == path else Path(os.path.relpath(path))


def _source(path: Path) -> str:
    """Return a path for compose, which takes a name without / or . in front for a volume."""
    text = str(path).replace("$", "$$")
    return text if path.is_absolute() or text.startswith("..") else os.path.join(".", text)


class _Line(list[str]):
    """A list that is written in flow style."""


class _Dumper(Dumper):
    """Writes lists of the type `_Line` in flow style."""


_Dumper.add_representer(
    _Line, lambda dumper, line: dumper.represent_sequence("tag:yaml.org,2002:seq", line, True)
)
