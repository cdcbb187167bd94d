"""Flower's engine beside the direct way: the first vote, a step, the memory.

The default federation, started by `hierfl run` and on SuperLinks and SuperNodes with
`link = "stream"`, by turns, then a round of 2 steps with `link = "flower"`. Each figure is the
median of its way's runs, and a run's step that of its rounds: what else the machine does now and
then is in neither.

    python -m benchmarks.engine
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
import tomllib
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from tests.system.engine import Engine, ancestors, engine, seen
from tests.system.harness import line_with, nodes, started

TURNS = 3
EDGE_STEPS = 15
DEVICES, EDGES = 6, 2
TREE = ["--set", "edges.0.devices=3", "--set", "edges.1.devices=3"]
KEYS: dict[str, Any] = {"algorithm.rounds": 40, "algorithm.edge_steps": EDGE_STEPS}


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="engine-") as folder:
        place = Path(folder)
        direct, stream = [], []
        with engine(place / "home", *TREE) as here:
            for turn in range(TURNS):
                direct.append(in_processes(place / f"direct-{turn}"))
                stream.append(on_the_engine(here, place / f"stream-{turn}", KEYS))
            short = KEYS | {"algorithm.rounds": 1, "algorithm.edge_steps": 2, "link": "flower"}
            out = place / "flower"
            on_the_engine(here, out, short)
            slow = json.loads((out / "summary.json").read_text())["wall_s"]
    print("                    first vote, s   a step, ms            device, MB   edge, MB")
    for name, runs in (("hierfl run", direct), ("link = stream", stream)):
        steps = " ".join(f"{run['step']:.2f}" for run in runs)
        facts = {key: median(run[key] for run in runs) for key in runs[0]}
        print(
            f"{name:18}  {facts['first']:13.1f}   {steps:20}"
            f"  {facts['device']:10.0f}  {facts['edge']:9.0f}"
        )
    ratio = median(run["step"] for run in stream) / median(run["step"] for run in direct)
    print(f"a step on the engine takes {ratio:.2f} times as long")
    print(f"link = flower: the round took {slow:.0f} s")


def step_ms(out: Path) -> float:
    """Return the milliseconds of one step in the median round, the first left out."""
    lines = (out / "metrics.jsonl").read_text().splitlines()
    ends = [json.loads(line)["wall_s"] for line in lines]
    return 1000 * median(b - a for a, b in pairwise(ends)) / EDGE_STEPS if ends[1:] else 0.0


def in_processes(out: Path) -> dict[str, float]:
    """Run it directly."""
    sets = [part for key, value in KEYS.items() for part in ("--set", f"{key}={value}")]
    begin = time.monotonic()
    with started("run", *TREE, *sets, "--out", str(out)) as run:
        line_with(run, "hier-signsgd with cnn")
        first = time.monotonic() - begin
        line_with(run, "round 10/")
        roles = {pid: command.split()[1] for pid, command in
                 nodes(out).items()}  # fmt: skip
        memory = per_role(roles)
        run.communicate()
    return {"first": first, "step": step_ms(out), **memory}


def on_the_engine(here: Engine, out: Path, keys: dict[str, Any]) -> dict[str, float]:
    """Run it with one `flwr run`."""
    begin, memory = time.monotonic(), {}
    with here.run(**keys, devices=DEVICES, out=str(out)) as run:
        seen(run, "hier-signsgd with cnn")
        first = time.monotonic() - begin
        if keys["algorithm.rounds"] > 10:
            seen(run, "round 10/")
            memory = per_role(roles_of(here))
        threading.Thread(target=run.stdout.read, daemon=True).start()  # type: ignore[union-attr]
        run.wait()
    return {"first": first, "step": step_ms(out), **memory}


def roles_of(here: Engine) -> dict[int, str]:
    """Return the role of each process of the engine: an edge has a SuperLink and a SuperNode."""
    connections = tomllib.loads((here.home / "config.toml").read_text())["superlink"]
    port = connections["cloud"]["address"].rpartition(":")[2]
    commands, found = here.processes(), {}
    for pid, command in commands.items():
        text = " ".join([command, *(commands.get(parent, "") for parent in ancestors(pid))])
        if "flower-supernode" in text:
            found[pid] = "edge" if "superlink=" in text else "device"
        elif "flower-superlink" in text:
            found[pid] = "cloud" if f"--port {port} " in text else "edge"
    return found


def per_role(roles: dict[int, str]) -> dict[str, float]:
    """Return the memory of a device and of an edge, in MB: shared pages count in parts."""
    total: dict[str, float] = defaultdict(float)
    for pid, role in roles.items():
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total[role] += int(text.split("Pss:")[1].split()[0]) / 1024
    return {"device": total["device"] / DEVICES, "edge": total["edge"] / EDGES}


if __name__ == "__main__":
    main()
