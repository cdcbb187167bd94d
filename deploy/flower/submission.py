"""A run that an edge starts at its own SuperLink, with Flower's command."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.flower.commands import script
from deploy.flower.invitation import Node
from deploy.flower.warm import folder_of
from hierfl.errors import ConfigError, RunFailed
from hierfl.link.flower_compat import run_status

STARTED = re.compile(r"started run (\d+)")
LAST_LINES = 8
FRAME = " \n│╭╮╰╯─"
"""The characters with which the flwr command frames its errors."""


def own_superlink(node: Node) -> str:
    """Return the name of the connection to an edge's own SuperLink.

    Raises:
        ConfigError: the edge's node config does not name it.
    """
    superlink = node.config.get("superlink")
    if not superlink:
        raise ConfigError(
            "superlink",
            f"the node config of edge {node.name} does not name its own SuperLink",
            'Start the SuperNode with --node-config \'name="..." superlink="..."\'; superlink is '
            "a connection in Flower's configuration on that machine.",
        )
    return str(superlink)


def start_run(
    app: Path, superlink: str, name: str, run_config: Mapping[str, Any], *, until_its_end: bool
) -> int:
    """Submit an app to an edge's own SuperLink; return the run's number.

    Args:
        app: the app's folder.
        superlink: the name of the connection to the SuperLink.
        name: the edge's, for its log.
        run_config: replaces keys of the app's.
        until_its_end: whether to log the run's output until it is over.

    Raises:
        RunFailed: the run cannot be started or, if `until_its_end`, fails, with the end of its log.
    """
    with _toml(run_config) as file:
        command = [_flwr(), "run", str(app), superlink]
        command += ["--stream"] if until_its_end else []
        with subprocess.Popen(
            [*command, "--run-config", str(file)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
        ) as process:  # fmt: skip
            run_id, end = _follow(process, name, superlink)
    if run_id is None:
        raise RunFailed(f"edge {name} could not start a run at its SuperLink: {' '.join(end)}")
    if until_its_end:
        _check(run_id, superlink, name, end)
    return int(run_id)


def _flwr() -> str:
    """Return Flower's command: the one that `hierfl up` has made, which starts at once."""
    made = folder_of(Path(os.environ.get("FLWR_HOME", ""))) / "flwr"
    return str(made) if made.exists() else script("flwr")


def _follow(
    process: subprocess.Popen[str], name: str, superlink: str
) -> tuple[str | None, list[str]]:
    """Log a run's output until it is over; return its id and its last lines.

    If this process is stopped before, the run is stopped too.
    """
    assert process.stdout is not None
    run_id, end = None, deque[str](maxlen=LAST_LINES)
    try:
        for line in process.stdout:
            print(f"{name} | {line}", end="", flush=True)
            if words := line.strip(FRAME):
                end.append(words)
            if run_id is None and (started := STARTED.search(line)):
                run_id = started[1]
    except BaseException:
        process.terminate()
        if run_id is not None:
            subprocess.run([_flwr(), "stop", run_id, superlink], capture_output=True, check=False)
        raise
    return run_id, list(end)


def _check(run_id: str, superlink: str, name: str, end: list[str]) -> None:
    """Check that a run has completed.

    Raises:
        RunFailed: if it has not, with the reason as far as it is known.
    """
    status = run_status(superlink, int(run_id))()
    if status is None:
        raise RunFailed(f"edge {name}: the status of run {run_id} is not known")
    if status.sub_status != "completed":
        words = [status.details, *(line for line in end if "rror" in line)]
        ended = status.sub_status or status.status
        raise RunFailed(f"the run of edge {name} has ended as {ended}: {' '.join(words)}")


@contextmanager
def _toml(values: Mapping[str, Any]) -> Iterator[Path]:
    """Write values to a file that only this user can read; arguments are visible to all users."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.writelines(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
        file.flush()
        yield Path(file.name)
