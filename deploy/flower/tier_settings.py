"""The table [tool.hierfl] of a Flower app with an edge tier, and what an edge adds to its copy."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import tomli_w

from hierfl.errors import ConfigError

SERVER = "deploy.flower.edge_tier:server"


@dataclass(frozen=True)
class Tier:
    """What the app's author says of the edges: [tool.hierfl].

    Attributes:
        clientapp: `module:attribute` of the app's own ClientApp, for the devices.
        edge_rounds: rounds of an edge's strategy per message of the cloud, at least 1.
        edge_strategy: `module:attribute` of it; None: FedAvg.
        edge_timeout: seconds after which an edge's round goes on without the devices that are
            missing. The ServerApp's own limit, 3600 s by default in Flower, should be longer.
    """

    clientapp: str
    edge_rounds: int = 1
    edge_strategy: str | None = None
    edge_timeout: float = 1800.0

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read it from the app in a folder.

        Raises:
            ConfigError: it is not there, or a key is wrong.
        """
        table = {key: value for key, value in _table(folder).items() if key != "edge"}
        own = {field.name.replace("_", "-"): field.name for field in fields(cls)}
        for key in table:
            if key not in own:
                raise _wrong(folder, key, f"is unknown; it has {', '.join(own)}")
        tier = cls(**{own[key]: value for key, value in {"clientapp": "", **table}.items()})
        if not isinstance(tier.clientapp, str) or ":" not in tier.clientapp:
            raise _wrong(folder, "clientapp", "should be module:attribute of the app's ClientApp")
        if type(tier.edge_rounds) is not int or tier.edge_rounds < 1:
            raise _wrong(folder, "edge-rounds", f"should be 1 or more, got {tier.edge_rounds!r}")
        if not isinstance(tier.edge_strategy, str | None):
            raise _wrong(folder, "edge-strategy", "should be module:attribute of a strategy")
        if type(tier.edge_timeout) not in (int, float) or not tier.edge_timeout > 0:
            raise _wrong(folder, "edge-timeout", "should be a number of seconds")
        return tier

    def write(self, folder: Path, cluster: Cluster) -> None:
        """Make an edge's app of a copy of the app in a folder."""
        file = folder / "pyproject.toml"
        project = tomllib.loads(file.read_text(encoding="utf-8"))
        components = {"serverapp": SERVER, "clientapp": self.clientapp}
        project["tool"]["flwr"]["app"]["components"] = components
        project["tool"]["hierfl"]["edge"] = asdict(cluster)
        file.write_text(tomli_w.dumps(project), encoding="utf-8")


@dataclass(frozen=True)
class Cluster:
    """What an edge's own run is told: [tool.hierfl.edge] of the app that it is submitted with.

    Attributes:
        node: the edge's name.
        token: the secret that names the socket at which it answers.
        upstream: the number of the cloud's run.
        devices: how many devices it waits for.
    """

    node: str
    token: str
    upstream: str
    devices: int

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Undo `Tier.write`."""
        return cls(**_table(folder)["edge"])


def _table(folder: Path) -> Mapping[str, Any]:
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    table = project.get("tool", {}).get("hierfl")
    if not isinstance(table, dict):
        raise ConfigError(
            str(folder / "pyproject.toml"),
            "[tool.hierfl] is missing",
            'With clientapp = "deploy.flower.edge_tier:client" it names the app\'s own:\n'
            '[tool.hierfl]\nclientapp = "my_app.client_app:app"',
        )
    return table


def _wrong(folder: Path, key: str, what: str) -> ConfigError:
    return ConfigError(str(folder / "pyproject.toml"), f"[tool.hierfl]: {key} {what}")
