"""`hierfl up` and `hierfl down`: start and supervise SuperLinks and SuperNodes."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from deploy.flower import warm
from deploy.flower.commands import SuperLink, SuperNode, device_node, edge_node
from deploy.launcher.ports import Ports
from deploy.launcher.processes import Processes
from deploy.launcher.supervisor import Supervisor
from deploy.stock_app.app import parse_texts
from hierfl.config import CLOUD, Config
from hierfl.config.addresses import split
from hierfl.errors import ConfigError, RunFailed

LOOPBACK = "127.0.0.1:0"
REGISTER_S = 60.0
"""Seconds within which a SuperLink must accept a registration."""

DOWN_S = 90.0


def up_local(config: Config, home: Path) -> None:
    """Run the SuperLinks and SuperNodes of a whole topology on this machine; see `up`."""
    certs = None if config.security.certs is None else config.security.certs.absolute()
    with Ports() as ports:
        places = {CLOUD: ports.fix("cloud", LOOPBACK)}
        places |= {edge.name: ports.fix(edge.name, LOOPBACK) for edge in config.edges}
        links = [SuperLink(name, address, certs) for name, address in places.items()]
        nodes = []
        number = count(0)
        total = sum(len(edge.devices) for edge in config.edges)
        for edge in config.edges:
            own = places[edge.name]
            here = ports.fix("", LOOPBACK)
            nodes.append(
                edge_node(edge.name, places[CLOUD], here, certs, len(edge.devices), edge.address)
            )
            for device in edge.devices:
                here = ports.fix("", LOOPBACK)
                part = {"partition-id": next(number), "num-partitions": total}
                nodes.append(device_node(device, own, here, certs, config.data.root, part))
        children = {CLOUD: list(config.tree())}
        children |= {name: list(devices) for name, devices in config.tree().items()}
        up(home, links, nodes, children if certs else {})


def up_cloud(address: str, certs: Path | None, home: Path) -> None:
    """Run the cloud's SuperLink; see `up`. Each NAME.pub in `certs` is registered."""
    link = SuperLink(CLOUD, address, certs and certs.absolute())
    up(home, [link], [], {CLOUD: _keys(certs, CLOUD)})


def up_edge(
    name: str,
    cloud: str,
    link_address: str,
    devices: int,
    address: str,
    port: int,
    certs: Path | None,
    home: Path,
) -> None:
    """Run an edge's SuperLink, and its SuperNode at the cloud's SuperLink; see `up_cloud`."""
    certs = certs and certs.absolute()
    with Ports() as ports:
        here = ports.fix("--port", f"127.0.0.1:{port}")
        node = edge_node(name, cloud, here, certs, devices, link_address)
        up(home, [SuperLink(name, address, certs)], [node], {name: _keys(certs, name)})


def up_device(
    name: str,
    edge: str,
    data_root: Path | None,
    node_config: str,
    port: int,
    certs: Path | None,
    home: Path,
) -> None:
    """Run a device's SuperNode; see `up`.

    Raises:
        ConfigError: `node_config` is not what `flower-supernode --node-config` takes.
    """
    config = parse_texts([node_config] if node_config else [], "--node-config")
    with Ports() as ports:
        here = ports.fix("--port", f"127.0.0.1:{port}")
        node = device_node(name, edge, here, certs and certs.absolute(), data_root, config)
        up(home, [], [node], {})


def _keys(certs: Path | None, name: str) -> list[str]:
    """Return the names of the public keys in a folder, except `name`."""
    return [] if certs is None else sorted(file.stem for file in certs.glob("*.pub")
                                           if file.stem != name)  # fmt: skip


def up(
    home: Path,
    links: Sequence[SuperLink],
    nodes: Sequence[SuperNode],
    children: dict[str, list[str]],
) -> None:
    """Start and supervise, until interrupted.

    Args:
        home: FLWR_HOME, the folder of connections, logs and apps.
        links: the SuperLinks of this machine.
        nodes: the SuperNodes of this machine.
        children: SuperLink -> the nodes to register there.

    Raises:
        KeyboardInterrupt: interrupted, also by `hierfl down`.
        HierflError: for a failure that the user can correct.
    """
    home = home.absolute()
    what = [f"SuperLink {link.name}" for link in links]
    what += [f"SuperNode {node.name}" for node in nodes]
    computes = any(link.name == CLOUD for link in links) or any(n.role == "device" for n in nodes)
    imports = (*warm.IMPORTS, *(warm.TORCH_IMPORTS if computes else ()))
    with _Mark(home, what), Processes(imports, _environment(home)) as processes:
        warm.write_programs(home)
        _connections(home, links, nodes)
        logs = home / "logs"
        commands = [warm.command(home)]
        commands += [link.command(logs) for link in links]
        commands += [node.command(logs) for node in nodes]
        arguments = (home, links, nodes, children)
        threading.Thread(target=_greet, args=arguments, daemon=True).start()
        Supervisor(processes, restart=True).run(commands)


def down(home: Path) -> None:
    """Stop the `hierfl up` of a folder, and all processes that it has started.

    Raises:
        ConfigError: if none is running.
        RunFailed: if it does not end.
    """
    file = home.absolute() / "up.json"
    try:
        facts = json.loads(file.read_text())
        handle = os.pidfd_open(facts["pid"])
    except (OSError, ValueError, KeyError):
        raise ConfigError("--home", f"no `hierfl up` is running with {home}") from None
    try:
        if _started(facts["pid"]) != facts["started"]:
            raise ConfigError("--home", f"no `hierfl up` is running with {home}")
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        end = select.poll()  # select() takes no descriptor above 1023
        end.register(handle, select.POLLIN)
        if not end.poll(1000 * DOWN_S):
            raise RunFailed(f"process {facts['pid']} does not end")
    finally:
        os.close(handle)
    print(f"down: {', '.join(facts['what'])}")


class _Mark:
    """The file `up.json`, which says what is running with a folder."""

    def __init__(self, home: Path, what: list[str]) -> None:
        self._file = home / "up.json"
        self._what = what

    def __enter__(self) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            if self._file.exists():
                facts = json.loads(self._file.read_text())
                if _started(facts["pid"]) == facts["started"]:
                    raise ConfigError(
                        "--home",
                        f"{self._file.parent} is in use by process {facts['pid']}",
                        f"Stop it with `hierfl down --home {self._file.parent}`.",
                    )
            pid = os.getpid()
            facts = {"pid": pid, "started": _started(pid), "what": self._what}
            self._file.write_text(json.dumps(facts))
        except OSError as error:
            raise ConfigError("--home", f"cannot write {self._file}: {error.strerror}") from None

    def __exit__(self, *error: object) -> None:
        self._file.unlink(missing_ok=True)


POLL, POLL_S = "FLWR_SUPEREXEC_TASK_POLL_INTERVAL", "0.1"
"""How often Flower looks for a task to start, in seconds; its own default is 1. An app's start at a
tree of nodes is a chain of such waits. At 0.01 the programs of eight nodes keep two cores busy with
asking, and the start takes longer."""


def _environment(home: Path) -> dict[str, str]:
    """Return environment variables for Flower's programs."""
    places = [warm.folder_of(home), Path(sys.executable).parent, os.environ.get("PATH", "")]
    return {
        "FLWR_HOME": str(home),
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        POLL: os.environ.get(POLL, POLL_S),
        "PATH": os.pathsep.join(map(str, places)),
    }


def _started(pid: int) -> str | None:
    """Return a process's start time, as in /proc/PID/stat; None if there is no process."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return None


def _connections(home: Path, links: Sequence[SuperLink], nodes: Sequence[SuperNode]) -> None:
    """Write Flower's configuration: connections to these SuperLinks and to the cloud's."""
    above = [SuperLink(CLOUD, node.superlink, node.certs) for node in nodes if node.role == "edge"]
    known = {link.name: link for link in [*above, *links]}
    if known:
        text = f"[superlink]\ndefault = {json.dumps(links[0].name)}\n\n"
        text += "\n".join(link.connection() for link in known.values())
        (home / "config.toml").write_text(text)


def _greet(
    home: Path,
    links: Sequence[SuperLink],
    nodes: Sequence[SuperNode],
    children: dict[str, list[str]],
) -> None:
    """Register the children that have keys, then print the next command."""
    for link in links:
        _await(link.address)
        for child in children.get(link.name, []):
            assert link.certs is not None
            _register(home, link, child)
    what = [*(f"SuperLink {link.name} at {link.address}" for link in links)]
    what += [f"SuperNode {node.name}" for node in nodes]
    print(f"up: {', '.join(what)}; logs in {home / 'logs'}")
    if any(link.name == CLOUD for link in links):
        print(f"run: FLWR_HOME={home} flwr run . {CLOUD} --stream", flush=True)


def _await(address: str) -> None:
    """Wait until a process listens at an address."""
    while True:
        try:
            socket.create_connection(split(address), 1).close()
            return
        except OSError:
            time.sleep(0.2)


def _register(home: Path, link: SuperLink, child: str) -> None:
    """Register a child's key, unless it is registered already."""
    assert link.certs is not None
    key = link.certs / f"{child}.pub"
    flwr = str(warm.folder_of(home) / "flwr")
    command = [flwr, "supernode", "register", str(key), link.name, "--name", child]
    deadline = time.monotonic() + REGISTER_S
    while True:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
            env={**os.environ, **_environment(home)},
        )  # fmt: skip
        said = done.stdout + done.stderr
        if done.returncode == 0 or "already" in said:
            return
        if time.monotonic() > deadline:
            print(f"{child} could not be registered at {link.name}: {said}", file=sys.stderr)
            return
        time.sleep(1)
