"""Flower's own FedAvg in `slow_links`: a SuperLink, and a SuperNode behind each device's link.

The SuperLink is where the edges are in a tree: there is one cluster, of all devices. Each device
has the data that it has in the tree.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from benchmarks._slow_links_cell import Cell, Run, lines_of
from deploy.flower.commands import SuperLink, SuperNode, script
from deploy.launcher.namespace import enter
from deploy.launcher.process import Command, failure
from deploy.launcher.processes import Ended, Processes
from deploy.testbed.build import testbed
from deploy.testbed.topology import Wiring
from hierfl.config import Config, load_config
from hierfl.config.addresses import split
from hierfl.errors import RunFailed
from hierfl.planning.plan import resolve
from hierfl.runs import interface_counters

FEDAVG = "flower-fedavg"
ROOT = Path(__file__).parents[1]
APP = Path(__file__).with_name("flower_fedavg")
IMPORTS = ("flwr.app", "flwr.clientapp", "flwr.serverapp", "grpc")

SERVER = "server"
NODE_ADDRESS = "127.0.0.1:9094"
LOOK_S = 0.2
POLL_S = "0.01"
"""How often Flower's SuperExecs look for work, in seconds; its default is 1."""


def run_fedavg(cell: Cell, folder: Path) -> Run:
    """Run it until the target is reached.

    Raises:
        RunFailed: it failed.
    """
    folder = folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = _one_cluster(cell)
    (folder / "config.yaml").write_text(config.to_yaml())
    with (
        testbed(config, folder) as wiring,
        Processes(IMPORTS, _environment(folder, wiring)) as processes,
    ):
        address = wiring.listens["edges.0.address"]
        link = SuperLink(SERVER, address, None)
        text = f"[superlink]\ndefault = {json.dumps(SERVER)}\n\n{link.connection()}"
        (folder / "config.toml").write_text(text)
        devices = config.edges[0].devices
        nodes = [SuperNode("device", name, address, NODE_ADDRESS, None, {}) for name in devices]
        commands = [_at(wiring, SERVER, link.command(folder / "logs"))]
        commands += [_at(wiring, node.name, node.command(folder / "logs")) for node in nodes]
        for command in commands:
            processes.start(command)
        _await(wiring, address)
        complete = _train(cell, folder, wiring, processes)
        processes.stop(processes.running)
        lines = lines_of(folder)
    return Run(cell, lines, len(devices), complete)


def _one_cluster(cell: Cell) -> Config:
    tree = load_config(None, cell.sets).tree()
    names = [name for devices in tree.values() for name in devices]
    homes = {edge: list(devices) for edge, devices in tree.items()}
    # JSON is YAML; the devices' data stays as it is in the tree.
    sets = [f"edges={json.dumps([{'name': SERVER, 'devices': names}])}"]
    sets.append(f"data.homes={json.dumps(homes)}")
    return resolve(load_config(None, [cell.links, *cell.sets, *sets]))


def _at(wiring: Wiring, node: str, command: Command) -> Command:
    return replace(command, namespace=wiring.namespaces[node])


def _await(wiring: Wiring, address: str) -> None:
    """Wait until somebody listens at the server; a thread alone goes there to see."""

    def look() -> None:
        enter(wiring.namespaces[SERVER])
        while True:
            try:
                return socket.create_connection(split(address), 1).close()
            except OSError:
                time.sleep(LOOK_S)

    there = threading.Thread(target=look, daemon=True)
    there.start()
    there.join()


def _environment(home: Path, wiring: Wiring) -> dict[str, str]:
    return {
        "FLWR_HOME": str(home),
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": POLL_S,
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(ROOT),
        interface_counters.VARIABLE: wiring.switch,
    }


def _train(cell: Cell, folder: Path, wiring: Wiring, processes: Processes) -> bool:
    """Run the app until the target is reached; return whether it has had all its rounds.

    Raises:
        HierflError: it failed, or a process ended before that.
    """
    overrides = {"topology": str(folder / "config.yaml"), "results": str(folder / "metrics.jsonl")}
    file = folder / "overrides.toml"
    file.write_text("".join(f"{key} = {json.dumps(text)}\n" for key, text in overrides.items()))
    namespace = wiring.namespaces[SERVER]
    command = ["ip", "netns", "exec", namespace, script("flwr"), "run", str(APP), SERVER]
    with (folder / "logs" / "flwr.log").open("wb") as log:
        run = subprocess.Popen(
            [*command, "--stream", "--run-config", str(file)],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, **_environment(folder, wiring)},
        )  # fmt: skip
        try:
            end = time.monotonic() + cell.limit
            while run.poll() is None and time.monotonic() < end:
                if any(line["accuracy"] >= cell.target for line in lines_of(folder)):
                    return False
                for event in processes.wait(time.monotonic() + LOOK_S):
                    if isinstance(event, Ended):
                        raise failure(event.process)
            if run.poll() is not None and not lines_of(folder):
                raise RunFailed(f"{cell.name} has failed", f"See {folder / 'logs'}.")
            return run.poll() is not None
        finally:
            run.kill()
            run.wait()
