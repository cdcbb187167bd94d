"""The keys of a Flower run config: how the tree gathers, and a topology's keys except its nodes.

A topology's key has its dotted name (`algorithm.rounds`); "" means null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import yaml

from hierfl.config import Config, make_config
from hierfl.errors import ConfigError

Value = bool | float | int | str


@dataclass(frozen=True)
class Gathering:
    """How the tree gathers.

    Attributes:
        tier: "cloud"; "edge" where an edge has submitted the app to its own SuperLink.
        edges: the least number of edges that the cloud waits for.
        devices: the least number of devices of all edges together; at an edge, the number of
            devices to wait for.
        wait: seconds to wait.
        link: "stream": votes travel over hierfl's own links; "flower": in Flower messages.
        link_address: the listening address of this tier's link.
        out: the run folder at the cloud; "": runs/NAME-TIME.
        certs: the folder of this node's certificates; "": plain text.
        upstream: the address of the cloud's link or, with `link = "flower"`, the id of the cloud's
            run. This key and those below are set by the app itself.
        token: the secret of that link.
        node: the edge's name.
    """

    tier: str
    edges: int
    devices: int
    wait: float
    link: str
    link_address: str
    out: str
    certs: str
    upstream: str
    token: str
    node: str


_TREES = (
    "algorithm.options",
    "data.augment",
    "data.dataset",
    "data.homes",
    "data.transforms",
    "model",
)  # what Flower's config cannot hold, mappings and lists: written as YAML
_OWN = {field.name.replace("_", "-"): field for field in fields(Gathering)}


def gathering(run_config: Mapping[str, Value]) -> Gathering:
    """Return how the tree gathers.

    Raises:
        ConfigError: if a key is missing or has a wrong type.
    """
    values: dict[str, Any] = {}
    for key, field in _OWN.items():
        if key not in run_config:
            raise ConfigError(
                key, "the run config lacks this key", "Copy [tool.flwr.app.config] from hierfl's "
                "pyproject.toml to the app's."
            )  # fmt: skip
        value: Any = run_config[key]
        if field.type == "float" and isinstance(value, int):
            value = float(value)
        if type(value).__name__ != field.type:
            raise ConfigError(key, f"should be of type {field.type}, got {value!r}")
        values[field.name] = value
    if values["link"] not in ("stream", "flower"):
        raise ConfigError("link", f"should be stream or flower, got {values['link']!r}")
    return Gathering(**values)


def topology(run_config: Mapping[str, Value], nodes: Mapping[str, Any]) -> Config:
    """Return the configuration of the run config's keys and these nodes.

    Args:
        run_config: flat, with dotted keys.
        nodes: the keys `cloud`, `edges` and `security`.

    Raises:
        ConfigError: if a key or a value is wrong.
    """
    tree: dict[str, Any] = {}
    for key, value in run_config.items():
        if key not in _OWN and value != "":
            *path, last = key.split(".")
            place = tree
            for step in path:
                place = place.setdefault(step, {})
            place[last] = yaml.safe_load(str(value)) if key in _TREES else value
    return make_config(tree | dict(nodes), "the run config")
