"""What a load test is asked to do, and the configuration that its nodes read."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

from hierfl.config import Config
from hierfl.config.read import make_config
from hierfl.errors import ConfigError
from hierfl.numerics.layout import Layout
from hierfl.planning.plan import Plan, make_plan, resolve

ROUND_STEPS = 10
"""Steps of a round, or fewer where there are fewer in all."""

HEARTBEAT_S = 120.0
"""Nodes that share a machine with thousands of others are slow to give signs of life."""


@dataclass(frozen=True)
class Kill:
    """An edge that is killed (SIGKILL) in the middle of the run, and started again.

    Attributes:
        edge: its name.
        step: at the end of this step, from 1.
    """

    edge: str
    step: int

    @classmethod
    def read(cls, text: str) -> Kill:
        """Return it from EDGE@STEP.

        Raises:
            ConfigError: if it is something else.
        """
        match = re.fullmatch(r"(.+)@([0-9]{1,9})", text)
        if match is None:
            raise ConfigError("--kill", f"{text!r} is not EDGE@STEP", "For example: edge-0@25.")
        return cls(match[1], int(match[2]))


@dataclass(frozen=True)
class Load:
    """What a load test is asked to do.

    Attributes:
        devices: how many there are in all.
        edges: at how many edges they are, as evenly as can be.
        parameters: d, of the model.
        steps: votes of each device; made up to whole rounds.
        kill: an edge that is killed on the way; None: none.
    """

    devices: int
    edges: int = 1
    parameters: int = 100_000
    steps: int = 100
    kill: Kill | None = None

    @property
    def edge_steps(self) -> int:
        """Steps of a round."""
        return min(self.steps, ROUND_STEPS)

    @property
    def rounds(self) -> int:
        """How many rounds there are."""
        return math.ceil(self.steps / self.edge_steps)

    def edge_names(self) -> list[str]:
        """Return the edges' names."""
        return [f"edge-{q}" for q in range(self.edges)]

    def tree(self) -> dict[str, list[str]]:
        """Return edge -> its devices."""
        return {
            edge: [f"device-{i}" for i in range(q, self.devices, self.edges)]
            for q, edge in enumerate(self.edge_names())
        }

    def config(self) -> Config:
        """Return the configuration of all nodes."""
        edges = [{"name": name, "devices": devices} for name, devices in self.tree().items()]
        quorum = {"heartbeat": HEARTBEAT_S, "step_timeout": 3600.0, "round_timeout": 3600.0}
        algorithm = {"edge_steps": self.edge_steps, "rounds": self.rounds}
        tree = {"name": "loadtest", "edges": edges, "algorithm": algorithm, "quorum": quorum}
        return resolve(make_config(tree))


def asked(devices: int, edges: int, parameters: int, steps: int, kill: str | None) -> Load:
    """Return what the options of `hierfl loadtest` ask for.

    Raises:
        ConfigError: if `kill` is not EDGE@STEP.
    """
    return Load(devices, edges, parameters, steps, None if kill is None else Kill.read(kill))


def write_config(config: Config, file: Path) -> None:
    """Write a configuration as JSON, which is read faster than YAML."""
    file.write_text(config.model_dump_json())


def read_config(file: Path) -> Config:
    """Undo `write_config`."""
    return make_config(json.loads(file.read_text()))


def plan_of(config: Config, parameters: int) -> Plan:
    """Return what a configuration means for a model of so many parameters, without buffers."""
    return make_plan(config, Layout(("w",), ((parameters,),)), 0)
