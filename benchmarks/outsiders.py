"""How fast an edge goes on while a stranger molests its port, by turns with undisturbed rounds.

    python -m benchmarks.outsiders --seconds 6 [ATTACK ...]

A federation of real processes learns the digits; every attack of `_outsider_attacks` runs for some
seconds, from a process of its own with the lowest priority, for on one machine an attacker takes
processor time whatever the attacked one does. Before and after it as many seconds are undisturbed.
The figure is rounds per second under attack, divided by the mean of the two. It is never to be
below a half.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._outsider_attacks import ATTACKS
from deploy.launcher.ports import Ports

LEAST = 0.5
ENVIRONMENT = {**os.environ, "FLWR_TELEMETRY_ENABLED": "0", "OMP_NUM_THREADS": "1"}
SETS = ["model=mlp", "data.dataset=digits", "algorithm.batch_size=16", "algorithm.edge_steps=12",
        "algorithm.rounds=1000000", "quorum.step_timeout=5", "evaluate.every=1000"]  # fmt: skip


class Pace:
    """Counts a run's rounds."""

    def __init__(self, out: Path) -> None:
        self._metrics = out / "metrics.jsonl"

    def rounds(self) -> int:
        """Return how many rounds are done."""
        return self._metrics.read_bytes().count(b"\n") if self._metrics.exists() else 0

    def of(self, seconds: float) -> float:
        """Return rounds per second, from now for some seconds."""
        before, began = self.rounds(), time.monotonic()
        time.sleep(seconds)
        return (self.rounds() - before) / (time.monotonic() - began)


def attacked(name: str, port: int, pace: Pace, seconds: float) -> float:
    """Return rounds per second under an attack."""
    command = [sys.executable, "-m", "benchmarks._outsider_attacks", name, str(port)]
    attacker = subprocess.Popen(
        ["nice", "-n", "19", *command, str(seconds + 60)],
        env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        time.sleep(2)  # it imports gRPC
        return pace.of(seconds)
    finally:
        attacker.kill()
        attacker.wait()


def main() -> int:
    """Print a line an attack; return 1 if one is below a half."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=", ".join(ATTACKS))
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    args = parser.parse_args()
    chosen, worst = args.attacks or list(ATTACKS), 1.0
    with tempfile.TemporaryDirectory() as folder, Ports() as ports:
        out, address = Path(folder) / "run", ports.fix("edges.0.address", "127.0.0.1:0")
        port = int(address.rpartition(":")[2])
        sets = [*SETS, f'edges.0.address="{address}"']
        command = [sys.executable, "-m", "hierfl", "run", "--out", str(out)]
        command += [part for text in sets for part in ("--set", text)]
        run = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
        try:
            pace = Pace(out)
            while pace.rounds() < 10 and run.poll() is None:
                time.sleep(0.2)
            calm = pace.of(args.seconds)
            print(f"{'attack':34s} {'calm':>8s} {'attacked':>9s} {'ratio':>6s}", flush=True)
            for name in chosen:
                under = attacked(name, port, pace, args.seconds)
                after = pace.of(args.seconds)
                if run.poll() is not None:
                    print(f"{name}: the run has ended", file=sys.stderr)
                    return 1
                ratio = under / max((calm + after) / 2, 1e-9)
                print(f"{name:34s} {(calm + after) / 2:8.2f} {under:9.2f} {ratio:6.2f}", flush=True)
                worst, calm = min(worst, ratio), after
        finally:
            run.terminate()
            run.wait(60)
    print(f"rounds per second; the worst ratio is {worst:.2f}, the least allowed {LEAST}")
    return int(worst < LEAST)


if __name__ == "__main__":
    sys.exit(main())
