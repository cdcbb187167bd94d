"""Faults: drawn from a seed, and done to the processes and wires of a run."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks._soak_nodes import handle, living, send
from benchmarks._soak_wires import Wire

KINDS = {"kill": 0.12, "restart": 0.08, "stop": 0.4, "disconnect": 0.4}
"""SIGKILL; SIGTERM; SIGSTOP and, after a while, SIGCONT; all the node's connections break."""

GAPS_S = (0.5, 4.0)
STOPS_S = (1.0, 4.0)
END_S = 15.0
"""Seconds in which a node that is asked to end does."""


class Fault(NamedTuple):
    """What is done to which node, `gap` seconds after the fault before; stops last `lasts` s."""

    gap: float
    kind: str
    node: str
    lasts: float


def schedule(seed: int, nodes: Sequence[str]) -> Iterator[Fault]:
    """Draw faults without end; the same for the same seed and nodes."""
    generator = np.random.default_rng(seed)
    while True:
        yield Fault(
            gap=generator.uniform(*GAPS_S),
            kind=str(generator.choice(list(KINDS), p=list(KINDS.values()))),
            node=str(generator.choice(nodes)),
            lasts=generator.uniform(*STOPS_S),
        )


@dataclass
class Saboteur:
    """Does faults to a run, and counts those that struck.

    Attributes:
        out: the run folder.
        wires: by child.
        parents: child to parent.
        struck: how many faults of each kind found somebody.
        missed: how many found a node that was down.
        deaf: the nodes that were asked to end, and did not.
    """

    out: Path
    wires: Mapping[str, Wire]
    parents: Mapping[str, str]
    struck: Counter[str] = field(default_factory=Counter)
    missed: int = 0
    deaf: list[str] = field(default_factory=list)

    async def do(self, fault: Fault) -> None:
        """Do a fault, and wait until it is over."""
        if fault.kind == "disconnect":
            ends = {fault.node} | {c for c, p in self.parents.items() if p == fault.node}
            self._count(fault, any([self.wires[end].cut() for end in ends & self.wires.keys()]))
            return
        node = next((node for node in living(self.out) if node.name == fault.node), None)
        if node is None:
            self._count(fault, False)
            return
        with handle(node) as process:
            self._count(fault, process is not None and await self._signal(fault, process))

    async def _signal(self, fault: Fault, process: int) -> bool:
        match fault.kind:
            case "kill":
                return send(process, signal.SIGKILL)
            case "restart":
                struck = send(process, signal.SIGTERM)
                if not await ends(process, END_S):
                    self.deaf.append(fault.node)
                return struck
            case _:
                try:
                    struck = send(process, signal.SIGSTOP)
                    await ends(process, fault.lasts)
                    return struck
                finally:
                    send(process, signal.SIGCONT)

    def _count(self, fault: Fault, struck: bool) -> None:
        if struck:
            self.struck[fault.kind] += 1
        else:
            self.missed += 1


async def ends(process: int, limit: float) -> bool:
    """Wait for the end of a process, given as a pidfd, for `limit` seconds at most."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(process, ended.set)
    try:
        async with asyncio.timeout(limit):
            await ended.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(process)
    return True
