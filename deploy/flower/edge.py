"""The edge: a ClientApp at the cloud's SuperLink, and a ServerApp at its own SuperLink."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flwr.serverapp import Grid

from deploy.flower.commands import script
from deploy.flower.invitation import PATIENCE_S, Invitation, Node, state_folder
from deploy.flower.node_dispatcher import NodeDispatcher, gather
from deploy.flower.settings import Gathering
from edge.main import run
from hierfl.config import CLOUD
from hierfl.errors import ConfigError, RunFailed
from hierfl.link.flower_compat import run_status
from hierfl.link.rendezvous import Rendezvous

STARTED = re.compile(r"started run (\d+)")
LAST_LINES = 8
FRAME = " \n│╭╮╰╯─"
"""The characters with which the flwr command frames its errors."""


def submit(node: Node, invitation: Invitation, app: Path, link: str) -> None:
    """Submit the same app to the edge's own SuperLink; with `link = "stream"`, wait for its end.

    Args:
        node: the edge; its node config names the connection to that SuperLink (`superlink`), the
            number of devices to wait for (`devices`) and the address of its link (`link-address`).
        invitation: the cloud's invitation.
        app: the folder of the app.
        link: "stream", or "flower", where the submitted run continues by itself.

    Raises:
        ConfigError: if the node config does not name the SuperLink.
        RunFailed: if the run fails, with the end of its log.
    """
    superlink = node.config.get("superlink")
    if not superlink:
        raise ConfigError(
            "superlink",
            f"the node config of edge {node.name} does not name its own SuperLink",
            'Start the SuperNode with --node-config \'name="..." superlink="..."\'; superlink is '
            "a connection in Flower's configuration on that machine.",
        )
    overrides: dict[str, Any] = {
        "tier": "edge",
        "link": link,
        "upstream": invitation.address,
        "token": invitation.token,
        "node": node.name,
        "certs": str(node.certs or ""),
        "wait": invitation.wait,
        "devices": int(node.config.get("devices", 1)),
        "link-address": str(node.config.get("link-address", "127.0.0.1:0")),
    }
    with _toml(overrides) as run_config:
        command = [script("flwr"), "run", str(app), str(superlink)]
        command += ["--stream"] if link == "stream" else []
        with subprocess.Popen(
            [*command, "--run-config", str(run_config)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
        ) as process:  # fmt: skip
            run_id, end = _follow(process, node.name, str(superlink))
    if run_id is None:
        said = " ".join(end)
        raise RunFailed(f"edge {node.name} could not start a run at its SuperLink: {said}")
    if link == "stream":
        _check(run_id, str(superlink), node.name, end)


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
            subprocess.run(
                [script("flwr"), "stop", run_id, superlink], capture_output=True, check=False
            )
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
def _toml(values: dict[str, Any]) -> Iterator[Path]:
    """Write values to a file that only this user can read; arguments are visible to all users."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.writelines(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
        file.flush()
        yield Path(file.name)


def edge(grid: Grid, own: Gathering, home: Path) -> None:
    """Run the edge whose devices are the nodes of this SuperLink.

    Raises:
        HierflError: for any expected error.
    """
    node = Node(own.node, Path(own.certs) if own.certs else None, {})
    upstream = Invitation(CLOUD, own.upstream, own.token, own.wait)
    devices = gather(grid, own.devices, own.wait, "devices")
    dispatcher = NodeDispatcher(grid, Invitation(node.name, "", secrets.token_hex(16), own.wait))
    with (
        Rendezvous(
            own.link_address, dispatcher.invitation.token, devices, node.identity()
        ) as rendezvous,
        dispatcher.towards(rendezvous.address),
    ):
        entries = rendezvous.wait(devices, own.wait, dispatcher.check)
        if entries is None:
            raise _missing(rendezvous.names(), devices, own.wait)
        text = node.join(upstream, rendezvous.address, [entry.name for entry in entries])
        rendezvous.answer(text)
        rendezvous.close()
        dispatcher.known(text)
        config = node.local(text)
        run(
            config,
            node.name,
            state_folder(home, config),
            token=own.token,
            devices_token=dispatcher.invitation.token,
            patience=PATIENCE_S,
            on_grid=dispatcher.watch,
        )


def _missing(here: list[str], devices: int, wait: float) -> RunFailed:
    return RunFailed(
        f"{len(here)} of {devices} devices joined within {wait:g} s: {', '.join(here) or 'none'}",
        "The logs of the devices' SuperNodes say what they are waiting for.",
    )
