"""Flower's engine beside the direct way: the first vote, a step, the memory.

One tree, 2 edges with 2 devices each, `cnn` on the digits: started by `hierfl run`, then on
SuperLinks and SuperNodes with `link = "stream"`, then a round of 2 steps with `link = "flower"`.

    python -m benchmarks.engine
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.system.engine import Engine, ancestors, engine, seen
from tests.system.harness import line_with, nodes, started, summary

TREE = ["--set", "edges.0.devices=2", "--set", "edges.1.devices=2"]
KEYS: dict[str, Any] = {
    "data.dataset": "digits", "algorithm.rounds": 90, "algorithm.schedule": "constant",
}  # fmt: skip


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="engine-") as folder:
        place = Path(folder)
        direct = in_processes(place / "direct")
        with engine(place / "home", *TREE) as here:
            stream = on_the_engine(here, place / "stream", KEYS)
            short = KEYS | {"algorithm.rounds": 1, "algorithm.edge_steps": 2, "link": "flower"}
            slow = on_the_engine(here, place / "flower", short)
    print("                    first vote, s   a step, ms   device, MB   edge, MB")
    for name, facts in (("hierfl run", direct), ("link = stream", stream)):
        print(
            f"{name:18}  {facts['first']:13.1f}  {facts['step']:11.2f}"
            f"  {facts['device']:11.0f}  {facts['edge']:9.0f}"
        )
    print(f"a step on the engine takes {stream['step'] / direct['step']:.2f} times as long")
    print(f"link = flower: the round took {slow['round']:.0f} s")


def in_processes(out: Path) -> dict[str, float]:
    """Run it directly."""
    sets = [part for key, value in KEYS.items() for part in ("--set", f"{key}={value}")]
    begin = time.monotonic()
    with started("run", *TREE, *sets, "--out", str(out)) as run:
        line_with(run, "hier-signsgd with cnn")
        first = time.monotonic() - begin
        line_with(run, "round 10/")
        roles = {pid: command.split("hierfl.cli ")[1].split()[0] for pid, command in
                 nodes(out).items()}  # fmt: skip
        memory = per_role(roles)
        run.communicate()
    return {"first": first, "step": 1000 / summary(out)["steps_per_s"], **memory}


def on_the_engine(here: Engine, out: Path, keys: dict[str, Any]) -> dict[str, float]:
    """Run it with one `flwr run`."""
    begin, memory = time.monotonic(), {}
    with here.run(**keys, devices=4, out=str(out)) as run:
        seen(run, "hier-signsgd with cnn")
        first = time.monotonic() - begin
        if keys["algorithm.rounds"] > 10:
            seen(run, "round 10/")
            memory = per_role(roles_of(here))
        threading.Thread(target=run.stdout.read, daemon=True).start()  # type: ignore[union-attr]
        run.wait()
    facts = json.loads((out / "summary.json").read_text())
    return {"first": first, "step": 1000 / facts["steps_per_s"], "round": facts["wall_s"], **memory}


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
    return {"device": total["device"] / 4, "edge": total["edge"] / 2}


if __name__ == "__main__":
    main()
