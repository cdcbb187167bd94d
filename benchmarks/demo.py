"""The demo's pace and memory, beside the same gradients taken without any federation.

The default federation (2 edges x 3 devices, `cnn`, batch 64, Fashion-MNIST, each round evaluated)
runs for real; before it, as many processes take as many gradients on the same shards, and never
talk: once by themselves, and once beside a process that evaluates as often as the cloud does.

    python -m benchmarks.demo
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from hierfl.config import Config, load_config
from hierfl.planning.plan import resolve

ROUNDS = 20
EVALUATION = "evaluation"
ENVIRONMENT = {**os.environ, "FLWR_TELEMETRY_ENABLED": "0", "OMP_NUM_THREADS": "1"}


def federation(out: Path) -> tuple[float, list[float]]:
    """Return steps per second, and the peak memory of each device process in MB."""
    command = [sys.executable, "-m", "hierfl", "run", "--out", str(out)]
    run = subprocess.Popen(
        [*command, "--set", f"algorithm.rounds={ROUNDS}"],
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    assert run.stdout is not None
    peaks: list[float] = []
    for line in run.stdout:
        if line.startswith("round") and f"{ROUNDS - 1}/{ROUNDS}" in line:
            peaks = [peak_mb(pid) for pid in devices_of(out)]
    if run.wait() != 0:
        raise SystemExit("the federation failed")
    return float(json.loads((out / "summary.json").read_text())["steps_per_s"]), peaks


def devices_of(out: Path) -> list[int]:
    """Return the pids of the run's device processes."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):  # it has ended meanwhile
            if (entry / "cmdline").read_bytes().startswith(f"hierfl device {out}/".encode()):
                found.append(int(entry.name))
    return found


def peak_mb(pid: int) -> float:
    """Return the peak of a process's resident memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise ValueError("no VmHWM")


def alone(*more: str) -> tuple[float, list[float]]:
    """Return the same two figures for processes that only take gradients, or do `more`."""
    config = settings()
    names = [name for devices in config.tree().values() for name in devices]
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.demo", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        for name in [*names, *more]
    ]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    begin = time.perf_counter()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    peaks = [float(worker.communicate()[0]) for worker in workers]
    seconds = time.perf_counter() - begin
    return ROUNDS * config.algorithm.edge_steps / seconds, peaks


def worker(name: str) -> None:
    """Do a device's, or the cloud's, arithmetic of the whole run; print the peak memory."""
    from hierfl.learning.threads import one_thread

    one_thread()
    from hierfl.algorithms.base import Step
    from hierfl.learning.loaded import load_data
    from hierfl.learning.setup import judging, make_trainer
    from hierfl.learning.trainer import evaluate

    config = settings()
    data = load_data(config)
    first = next(iter(config.tree().values()))[0]
    trainer = make_trainer(config, first if name == EVALUATION else name, data)
    test = judging(config, data)
    assert test is not None
    print("ready", flush=True)
    sys.stdin.readline()
    for round_ in range(1, ROUNDS + 1):
        if name == EVALUATION:
            evaluate(trainer.task, trainer.model, test)
            continue
        for step in range(1, config.algorithm.edge_steps + 1):
            at = Step(config.seed, name, round_, step, np.float32(0))
            trainer.gradient(at.draw("minibatch"))
    print(peak_mb(os.getpid()))


def settings() -> Config:
    """Return the demo's configuration."""
    return resolve(load_config(None, [f"algorithm.rounds={ROUNDS}"]))


def main() -> None:
    """Print both figures."""
    gradients, alone_mb = alone()
    evaluated, _ = alone(EVALUATION)
    with tempfile.TemporaryDirectory() as folder:
        pace, device_mb = federation(Path(folder) / "run")
    print(f"steps/s: federation {pace:.1f}")
    for what, other in (("gradients alone", gradients), ("with as many evaluations", evaluated)):
        print(f"         {what} {other:.1f}, ratio {pace / other:.2f}")
    print(
        f"peak memory of a device, MB: {max(device_mb):.0f}, gradients alone {max(alone_mb):.0f}, "
        f"difference {max(device_mb) - max(alone_mb):.0f}"
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        worker(sys.argv[1])
    else:
        main()
