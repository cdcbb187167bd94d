"""hosts.yaml: the machines, how ssh reaches them, and which nodes run on each."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, model_validator

from hierfl.config.error_report import explain
from hierfl.config.read import read_mapping
from hierfl.config.schema import CLOUD, Config
from hierfl.config.types import Int, Name, Part, Place, not_empty
from hierfl.config.validators import refuse_strangers, refuse_twins, wrong

_LEAST = "\nhosts:\n  - {name: hub, ssh: root@10.0.0.1, nodes: [cloud]}"


def _like(pattern: str, words: str) -> Callable[[str], str]:
    """Return a validator of strings; `words` describe what is expected."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise wrong(f"should be {words}")
        return text

    return check


There = Annotated[
    str,
    AfterValidator(
        _like(
            r"(/(?!\.\.?(/|$))[A-Za-z0-9._+-]+)+",
            "an absolute path on the host, of letters, digits and ._+- only",
        )
    ),
]
"""A path on a host, without characters that a shell or systemd would interpret."""

Target = Annotated[
    str, AfterValidator(_like(r"[A-Za-z0-9_\[][^\s]*", "a destination for ssh: HOST or USER@HOST"))
]
User = Annotated[str, AfterValidator(_like(r"[a-z_][a-z0-9_-]{0,30}", "a user name"))]
Memory = Annotated[
    str, AfterValidator(_like(r"[0-9]+[KMGT]|infinity", "a size, for example 512M or 2G"))
]


class Paths(Part):
    """The folders on a host."""

    venv: There = "/opt/hierfl"
    config: There = "/etc/hierfl"
    state: There = "/var/lib/hierfl"


class Host(Part):
    """A machine.

    `ssh` is the destination for ssh (null: the host's name); `port` and `identity` are passed to
    ssh if they are set. If `nodes` is empty, the nodes that ran there are removed. Nodes run as
    `user`, which is created if missing. `python` is an interpreter that has hierfl already; null: a
    venv is created. `memory` is systemd's MemoryMax for each node. `data` is the folder of the data
    sets; null: `data` in `paths.state`.
    """

    name: Name
    ssh: Target | None = None
    port: Annotated[Int, Field(ge=1, le=65535)] | None = None
    identity: Place | None = None
    user: User = "hierfl"
    nodes: tuple[Name, ...]
    python: There | None = None
    memory: Memory = "1G"
    data: There | None = None
    paths: Paths = Paths()


class Hosts(Part):
    """All machines. `ssh_config` is a configuration file for ssh instead of the user's own."""

    ssh_config: Place | None = None
    hosts: Annotated[tuple[Host, ...], AfterValidator(not_empty)]

    @model_validator(mode="after")
    def _nodes_are_the_topology_s(self, info: ValidationInfo) -> Hosts:
        refuse_twins("name", [(f"hosts.{i}.name", host.name) for i, host in enumerate(self.hosts)])
        placed = [
            (f"hosts.{i}.nodes.{k}", node)
            for i, host in enumerate(self.hosts)
            for k, node in enumerate(host.nodes)
        ]
        refuse_strangers("node", placed, info.context or [])
        refuse_twins("node", placed)
        return self


def read_hosts(path: Path, config: Config) -> Hosts:
    """Return the machines in a file.

    Args:
        path: the file.
        config: the federation whose nodes they run.

    Raises:
        ConfigError: if the file cannot be read, or keys or values are wrong; it names all of them.
    """
    tree = read_mapping(path, _LEAST)
    try:
        return Hosts.model_validate(tree, context=nodes_of(config))
    except ValidationError as error:
        raise explain(error, str(path), {}, Hosts) from None


def nodes_of(config: Config) -> list[str]:
    """Return the names of all nodes, each edge before its devices."""
    tree = config.tree()
    return [CLOUD, *(name for edge in tree for name in (edge, *tree[edge]))]
