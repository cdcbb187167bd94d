"""Fifty devices in a process each, and all in one process: steps a second, and memory.

Both are `hierfl run` of the same federation: 2 edges with 25 devices each, on digits, which come to
the same bits. Memory is the largest sum of the devices' processes' PSS (what processes share counts
once), looked at twice a second.

    python -m benchmarks.hosts
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

DEVICES, ROUNDS = 50, 6
LOOK_S = 0.5
SETS = [
    "data.dataset=digits", "model=mlp", "algorithm.edge_steps=10", "algorithm.batch_size=16",
    f"algorithm.rounds={ROUNDS}", "evaluate.every=100",
    f"edges.0.devices={DEVICES // 2}", f"edges.1.devices={DEVICES // 2}",
]  # fmt: skip
NAMES = [f"{edge}-{i}" for edge in ("east", "west") for i in range(DEVICES // 2)]
WAYS = {"a process each": [], "one process": [f"hosts={{all: [{', '.join(NAMES)}]}}"]}


def memory(out: Path) -> int:
    """Return the PSS of the processes of a run's devices, in bytes."""
    total = 0
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if f"device {out / 'config.yaml'}" in (entry / "cmdline").read_text().replace(
                "\0", " "
            ):
                lines = (entry / "smaps_rollup").read_text().splitlines()
                total += next(int(it.split()[1]) * 1024 for it in lines if it.startswith("Pss:"))
    return total


def measure(sets: list[str], out: Path) -> tuple[float, int, str]:
    """Run a federation; return its steps a second without the first round, memory and hash."""
    arguments = [part for text in [*SETS, *sets] for part in ("--set", text)]
    command = [sys.executable, "-m", "hierfl", "run", *arguments, "--out", str(out)]
    most = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as run:
        while run.poll() is None:
            most = max(most, memory(out))
            time.sleep(LOOK_S)
    if run.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {run.returncode}")
    rounds = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    seconds = rounds[-1]["wall_s"] - rounds[0]["wall_s"]
    summary = json.loads((out / "summary.json").read_text())
    return 10 * (ROUNDS - 1) / seconds, most, str(summary["model_sha256"])


def main() -> None:
    """Print the table."""
    print(f"{DEVICES} devices     steps/s  memory, MB  a device  hash")
    with tempfile.TemporaryDirectory() as folder:
        for way, sets in WAYS.items():
            rate, used, hashed = measure(sets, Path(folder) / way.replace(" ", "-"))
            print(f"{way:15}  {rate:7.2f}  {used / 1e6:10.0f}  {used / 1e6 / DEVICES:8.1f}  "
                  f"{hashed[:12]}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
