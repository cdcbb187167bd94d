"""Whether this machine can hold a load test: found out before anything is started."""

from __future__ import annotations

import math
import resource
from pathlib import Path

from deploy.doctor.resources import available
from deploy.loadtest.load import Kill, Load
from hierfl.errors import ConfigError
from hierfl.process.descriptors import RESERVE
from hierfl.units import plural, size

EDGE_DEVICE, CHILD_DEVICE = 75_000, 65_000
"""Bytes of memory that a device takes at its edge and in its own process, beside its first base, of
which the two hold two copies at the most: as measured, see docs/scale.md."""

PROCESS = 60_000_000
"""Bytes of memory that a process takes of its own."""

PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


def check(load: Load, hosts: int) -> None:
    """Raise ConfigError where a load test is none, or this machine cannot hold it.

    Args:
        load: what is asked for.
        hosts: how many processes hold the devices.
    """
    if load.edges > load.devices:
        raise ConfigError(
            "--edges",
            f"{plural(load.edges, 'edge')} for {plural(load.devices, 'device')}",
            "Each edge needs a device.",
        )
    _check_descriptors(load, hosts)
    _check_memory(load, hosts)
    if load.kill is not None:
        _check_kill(load, load.kill)


def _check_kill(load: Load, kill: Kill) -> None:
    names, last = load.edge_names(), load.rounds * load.edge_steps
    if kill.edge not in names:
        there = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        raise ConfigError("--kill", f"there is no {kill.edge}", f"There is {there}.")
    if not 1 <= kill.step <= last:
        raise ConfigError("--kill", f"there is no step {kill.step}", f"The last is {last}.")


def _check_descriptors(load: Load, hosts: int) -> None:
    """A connection takes a descriptor at either end, and at the device's end a port."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    at_edge = math.ceil(load.devices / load.edges)
    for what, number in (("an edge", at_edge), ("a process", math.ceil(load.devices / hosts))):
        needed = number + RESERVE
        if soft != resource.RLIM_INFINITY and needed > soft:
            raise ConfigError(
                "--devices",
                f"{plural(number, 'device')} of {what} need {needed:,} descriptors, and a process "
                f"may have {soft:,}",
                f"Raise the limit (`ulimit -Hn` shows the highest), or try {soft - RESERVE:,}"
                f" devices{' an edge' if what == 'an edge' else ' a process'}.",
            )
    low, high = map(int, PORTS.read_text().split())
    if at_edge > high - low:
        raise ConfigError(
            "--devices",
            f"{plural(at_edge, 'device')} of an edge need as many ports of this machine, which has "
            f"{high - low:,} for connections",
            f"Take more edges, or widen {PORTS}.",
        )


def memory_needed(load: Load, hosts: int) -> int:
    """Return how many bytes of memory a load test takes."""
    each = EDGE_DEVICE + CHILD_DEVICE + 2 * 4 * load.parameters
    models = 12 * 4 * load.parameters  # what a node holds of models, counters and checkpoints
    return load.devices * each + (1 + load.edges + hosts) * (PROCESS + models)


def _check_memory(load: Load, hosts: int) -> None:
    needed, (there, _) = memory_needed(load, hosts), available()
    if needed > there:
        fixed = memory_needed(Load(0, load.edges, load.parameters, load.steps), hosts)
        most = max(0, there - fixed) * load.devices // (needed - fixed)
        hint = f"Take at most {plural(most, 'device')}, or fewer --parameters."
        if most < load.edges:
            hint = "Take fewer --parameters or fewer --edges."
        raise ConfigError(
            "--devices",
            f"{plural(load.devices, 'device')} with a model of "
            f"{plural(load.parameters, 'parameter')} need about {size(needed)} of memory, and "
            f"{size(there)} are available",
            hint,
        )
