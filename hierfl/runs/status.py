"""How a run is: what its cloud has written about it last, for a person."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from hierfl.errors import ConfigError, escaped
from hierfl.runs.folder import LOCK
from hierfl.runs.owner import holder

FILE = "status.json"


class _Node(BaseModel):
    name: str
    state: str
    since: Annotated[float, Field(ge=0, lt=1e11)]
    why: str


class _Edge(_Node):
    devices: list[_Node]


class _Status(BaseModel):
    """What `lines` reads of a status.json."""

    name: str
    training: bool
    round: int
    rounds: int
    figures: str
    written: Annotated[float, Field(allow_inf_nan=False)]
    edges: list[_Edge]


def read(run: Path) -> dict[str, Any]:
    """Return a run's status, with `running`: whether a process owns the run folder now.

    Raises:
        ConfigError: the folder holds no run that has begun.
    """
    running = holder(run / LOCK) is not None
    state = "finished" if (run / "summary.json").exists() else "running" if running else "stopped"
    try:
        status = json.loads((run / FILE).read_bytes())
        if not isinstance(status, dict):
            raise ValueError
        if "edges" in status:
            _Status.model_validate(status)
    except FileNotFoundError:
        if (run / "config.yaml").exists():
            return {"state": state, "running": running}
        raise ConfigError(str(run), "there is no run in this folder") from None
    except (OSError, ValueError, RecursionError):
        raise ConfigError(str(run / FILE), "cannot be read") from None
    return {"state": state, "running": running, **status}


def lines(status: dict[str, Any], now: float | None = None) -> list[str]:
    """Return it for a person."""
    if "edges" not in status:
        return [str(status["state"])]
    at = f"round {status['round']} of {status['rounds']}" if status["training"] else "not begun"
    head = f"{status['name']}: {status['state']}, {at}"
    shown = [head + (f", {status['figures']}" if status["figures"] else "")]
    if status["state"] != "running":
        age = (time.time() if now is None else now) - status["written"]
        shown.append(f"as of {age:.0f} s ago:")
    for edge in status["edges"]:
        shown.append(_line(edge))
        shown += [f"  {_line(device)}" for device in edge["devices"]]
    return [escaped(line) for line in shown]


def _line(node: dict[str, Any]) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(node["since"]))
    why = f" ({node['why']})" if node["why"] else ""
    return f"{node['name']:12} {node['state']} since {since}{why}"
