"""One step of an edge whose devices compute nothing, beside a bare gRPC echo of the same bytes.

The edge takes real decisions on 100,000 parameters (count, random ties, tally); the devices answer
at once. The echo sends as many bytes to as many children over `grpc.aio` and waits for as many
back. The two take turns within one process, on one event loop.

A second table holds what the edge spends for each device, with more devices than processes: its own
processor time, gRPC's threads included, and its memory.

    python -m benchmarks.step
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from contextlib import closing

from benchmarks._echo import Echo, echo_children
from benchmarks._edge import PARAMETERS, SIZE, BenchedEdge, answer
from deploy.loadtest.meter import resident
from hierfl.link.loop import LinkLoop

MODULE = "benchmarks.step"
TURNS, STEPS = 8, 50
"""How often each of the two has its turn, the first of which warms up, and the steps of a turn."""

MANY = (10, 100, 500, 1000)
HOSTS = 2
"""Processes that the many devices share."""

REQUESTS = 20_000
"""How many requests are measured at least at each size, in rounds of `STEPS` steps."""


def beside_echo(devices: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds of each exchange of the echo, and of each step of the edge."""
    echoes: list[float] = []
    steps: list[float] = []
    with (
        LinkLoop() as loop,
        closing(Echo(loop, devices, devices, MODULE)) as echo,
        closing(BenchedEdge(loop, devices, devices, STEPS + 1, MODULE)) as edge,
    ):
        for turn in range(TURNS):
            (exchanged, _), (stepped, _) = echo.exchange(STEPS), edge.round()
            if turn:
                echoes += exchanged
                steps += stepped
    return [1000 * s for s in echoes], [1000 * s for s in steps]


def spent(devices: int) -> dict[str, float]:
    """Return what an edge spends with so many devices.

    Returns:
        step, echo: milliseconds of a step and of an exchange of the echo, medians; cpu, echo_cpu:
        milliseconds of this process's time for one device's part in either; memory: its resident
        bytes before the echo begins.
    """
    turns = max(1, REQUESTS // (STEPS * devices))
    with LinkLoop() as loop:
        edge = BenchedEdge(loop, devices, HOSTS, STEPS + 1, MODULE)
        edge.round()
        memory = resident()
        echo = Echo(loop, devices, HOSTS, MODULE)
        echo.exchange(1)
        pairs = [(edge.round(), echo.exchange(STEPS)) for _ in range(turns)]
        edge.close()
        echo.close()

    def per_device(processor: list[float]) -> float:
        return 1000 * statistics.median(processor) / (STEPS * devices)

    return {
        "step": 1000 * statistics.median(s for (steps, _), _ in pairs for s in steps),
        "echo": 1000 * statistics.median(s for _, (exchanges, _) in pairs for s in exchanges),
        "cpu": per_device([processor for (_, processor), _ in pairs]),
        "echo_cpu": per_device([processor for _, (_, processor) in pairs]),
        "memory": memory,
    }


def main() -> None:
    """Print both tables."""
    print(f"{PARAMETERS} parameters, {SIZE} bytes each way, {(TURNS - 1) * STEPS} steps; ms")
    print("devices  echo median  echo p95  edge median  edge p95  edge/echo")
    for devices in (2, 10, 20):
        figures = []
        for ms in map(sorted, beside_echo(devices)):
            figures += [statistics.median(ms), ms[int(0.95 * len(ms))]]
        ratio = figures[2] / figures[0]
        print(f"{devices:7}  {figures[0]:11.2f}  {figures[1]:8.2f}  {figures[2]:11.2f}  "
              f"{figures[3]:8.2f}  {ratio:9.2f}", flush=True)  # fmt: skip
    print(f"\n{HOSTS} processes hold the devices; ms; processor time of the edge's process")
    print("devices  step  echo  step/echo  processor, per device  echo's  memory, MB")
    memory = {}
    for devices in MANY:
        command = [sys.executable, "-m", MODULE, "spent", str(devices)]
        it = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        memory[devices] = it["memory"]
        print(f"{devices:7}  {it['step']:4.0f}  {it['echo']:4.0f}  {it['step'] / it['echo']:9.2f}  "
              f"{it['cpu']:21.3f}  {it['echo_cpu']:6.3f}  {it['memory'] / 1e6:10.1f}",
              flush=True)  # fmt: skip
    few, many = min(MANY), max(MANY)
    each = (memory[many] - memory[few]) / (many - few)
    print(f"memory per device, from {few} to {many}: {each / 1000:.0f} KB, "
          f"of which a ballot is {SIZE / 1000:.1f}")  # fmt: skip


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["devices", address, *names]:
            answer(address, names)
        case ["echo", address, children]:
            echo_children(address, int(children))
        case ["spent", devices]:
            print(json.dumps(spent(int(devices))))
        case _:
            main()
