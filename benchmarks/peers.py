"""A round trip of 100,000 float32 with 2 children: hierfl beside Flower and NVFlare.

One after the other, each in processes of its own on this machine: `hierfl accelerate`, Flower's
Deployment Runtime (a SuperLink and two SuperNodes that look for work every 0.01 s), Flower's
deprecated `start_server`, and NVFlare's simulator, whose clients are processes. Nodes return the
model as it came. A round is from one model's end to the next; the first is left out.

    python -m benchmarks.peers --nvflare build/peers/nvflare/bin/python
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median

from tests.system.harness import ENVIRONMENT
from tests.system.test_accelerate import flower, free_ports, tool

HERE = Path(__file__).parent
APP = HERE / "round_trip_app"
LIMIT_S = 240
POLL = {"FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.01"}


def main() -> None:
    """Print a line per peer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nvflare", type=Path, help="the Python of an environment with NVFlare")
    chosen = parser.parse_args()
    peers: dict[str, Callable[[Path], list[float]]] = {
        "hierfl accelerate": hierfl,
        "Flower's Deployment Runtime": runtime,
        "Flower's start_server": start_server,
    }
    if chosen.nvflare:
        python = chosen.nvflare.absolute()
        peers["NVFlare's simulator"] = lambda folder: nvflare(folder, python)
    print(f"load average {os.getloadavg()[0]:.1f}")
    for name, measure in peers.items():
        with tempfile.TemporaryDirectory(prefix="peers-") as folder:
            ends = measure(Path(folder))
        rounds = [1000 * (b - a) for a, b in pairwise(ends)][1:]
        print(f"{name:30} {median(rounds):10.1f} ms ({min(rounds):.1f} to {max(rounds):.1f}, "
              f"{len(rounds)} rounds)", flush=True)  # fmt: skip


def hierfl(folder: Path) -> list[float]:
    """`hierfl accelerate`."""
    command = [tool("hierfl"), "accelerate", str(APP), "--nodes", "2"]
    return _run([*command, "--run-config", _config(folder, 100)], folder)


def runtime(folder: Path) -> list[float]:
    """Flower's Deployment Runtime."""
    os.environ.update(POLL)
    ENVIRONMENT.update(POLL)
    with flower(folder, 2) as environment:
        command = [tool("flwr"), "run", str(APP), "here", "--stream"]
        return _run([*command, "--run-config", _config(folder, 6)], folder, environment)


def start_server(folder: Path) -> list[float]:
    """Flower's deprecated way: one stream per client."""
    (port,) = free_ports(1)
    address, script = f"127.0.0.1:{port}", str(HERE / "_peer_flower_old.py")
    clients = [
        subprocess.Popen([sys.executable, script, "client", address], stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    try:
        return _run([sys.executable, script, "server", address, "100", _results(folder)], folder)
    finally:
        for client in clients:
            client.kill()
            client.wait()


def nvflare(folder: Path, python: Path) -> list[float]:
    """NVFlare's simulator."""
    script = HERE / "_peer_nvflare.py"
    return _run([str(python), str(script), "20", _results(folder), str(folder / "work")], folder)


def _config(folder: Path, rounds: int) -> str:
    return f'rounds={rounds} results="{_results(folder)}"'


def _results(folder: Path) -> str:
    return str(folder / "results.json")


def _run(
    command: list[str], folder: Path, environment: dict[str, str] | None = None
) -> list[float]:
    done = subprocess.run(
        command, cwd=folder, env=environment or ENVIRONMENT, capture_output=True, text=True,
        timeout=LIMIT_S, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if not Path(_results(folder)).exists():
        raise SystemExit(f"{command[0]} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    ends: list[float] = json.loads(Path(_results(folder)).read_text())
    return ends


if __name__ == "__main__":
    main()
