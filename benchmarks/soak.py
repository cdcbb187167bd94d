"""A soak: the demo runs for a while, and its nodes are killed, stopped, cut off and restarted.

Storms of random faults from a seeded schedule alternate with calms: once all nodes have taken
part in whole rounds again, the memory and the open files of every process are sampled, and
compared with those of the same process in earlier calms. At the end the launcher is killed, and
the cloud's last checkpoint is compared with a run in one process in which nothing happens.

    python -m benchmarks.soak [--seconds 600] [--seed 1] [--dataset digits] [--topology FILE]

What is promised: no round is lost, the model is that of the undisturbed run bit for bit, memory
stays within 5% after a process's first minute, open files stay constant, and no process is left
behind. The exit code is 1 if one of these is broken; the run folder is kept then.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path

from benchmarks._soak_faults import Saboteur, ends, schedule
from benchmarks._soak_folder import ENVIRONMENT, faults, last_round, metrics, undisturbed
from benchmarks._soak_nodes import Life, Node, handle, living, sample, send
from benchmarks._soak_report import Findings, broken, table
from benchmarks._soak_wires import Wire
from deploy.launcher.ports import Ports
from deploy.launcher.process import LAST_LINES, quote
from hierfl.config import CLOUD, Config, load_config
from hierfl.errors import HierflError, render
from hierfl.link.traffic import Faults
from hierfl.planning.plan import resolve
from hierfl.protocol.checkpoint import Checkpoint
from hierfl.protocol.checkpoint_store import CheckpointStore
from hierfl.protocol.vectors import model_hash
from hierfl.runs.folder import claimed

FOREVER = 10**9
"""Rounds that no soak comes to."""

STORM = 8
"""Faults between two calms."""

SAMPLES, EVERY_S = 5, 1.0
"""Samples in a calm, and the seconds between two of them."""

SETTLED = 4
"""Rounds after a storm, the last of which began with all nodes attached."""

PATIENCE_S = 120.0
"""Seconds within which they must come."""

LOG = "launcher.log"

GOODBYE_S = 10.0
"""Seconds within which all nodes must have ended after their launcher."""


class Stalled(Exception):
    """The run has ended, or does not go on."""


@dataclass
class Soak:
    """A run under faults.

    Attributes:
        config: the federation, with fixed addresses.
        out: its run folder, which holds the configuration.
        launcher: runs the federation.
        saboteur: does the faults.
        lives: what was seen of each process.
        trouble: what should not have been seen.
    """

    config: Config
    out: Path
    launcher: subprocess.Popen[bytes]
    saboteur: Saboteur
    lives: dict[Node, Life] = field(default_factory=dict)
    trouble: list[str] = field(default_factory=list)

    async def run(self, seconds: float, seed: int) -> None:
        """Alternate calms and storms, until the last calm ends after `seconds` s or later."""
        end, drawn = time.monotonic() + seconds, schedule(seed, names(self.config))
        try:
            await self._calm(0)
            for number in count(1):
                async with asyncio.TaskGroup() as storm:
                    for fault in islice(drawn, STORM):
                        await asyncio.sleep(fault.gap)
                        storm.create_task(self.saboteur.do(fault))
                await self._calm(number)
                if time.monotonic() >= end:
                    break
        except Stalled as stalled:
            self.trouble.append(str(stalled))

    async def _calm(self, number: int) -> None:
        await self._settle()
        for _ in range(SAMPLES):
            here = living(self.out)
            if sorted(node.name for node in here) != sorted(names(self.config)):
                self.trouble.append(f"in a calm there were {', '.join(map(str, here))}")
            for node in here:
                if (what := sample(node)) is not None:
                    self.lives.setdefault(node, Life()).add(number, what)
            await asyncio.sleep(EVERY_S)

    async def _settle(self) -> None:
        """Wait for rounds that began and ended after the storm."""
        goal, limit = last_round(self.out) + SETTLED, time.monotonic() + PATIENCE_S
        while last_round(self.out) < goal:
            if self.launcher.poll() is not None:
                code, log = self.launcher.returncode, (self.out / LOG).read_bytes()
                end = quote(b"".join(log.splitlines(keepends=True)[-LAST_LINES:]))
                raise Stalled(f"the run ended by itself with exit code {code}:\n{end}")
            if time.monotonic() > limit:
                raise Stalled(f"round {goal} is not done {PATIENCE_S:.0f} s after a storm")
            await asyncio.sleep(0.1)


@asynccontextmanager
async def launched(config: Config, out: Path) -> AsyncIterator[Soak]:
    """Launch a federation whose children dial wires; within the block it runs."""
    parents = {name: config.parent_of(name) for name in names(config) if name != CLOUD}
    listens = {CLOUD: config.cloud.address} | {edge.name: edge.address for edge in config.edges}
    wires = {child: Wire(listens[parent]) for child, parent in parents.items()}
    dials = [f"{child}={await wire.open()}" for child, wire in wires.items()]
    with (out / LOG).open("wb") as log:
        launcher = subprocess.Popen(  # noqa: ASYNC220  (nothing else runs yet)
            [sys.executable, "-m", "benchmarks._soak_launch", str(out), *dials],
            stdout=log, stderr=log, env=ENVIRONMENT,
        )  # fmt: skip
    try:
        yield Soak(config, out, launcher, Saboteur(out, wires, parents))
    finally:
        launcher.kill()
        launcher.wait()
        for wire in wires.values():
            await wire.close()


async def orphans(out: Path) -> list[Node]:
    """Return the nodes that do not end within a while, and end them."""
    limit, left = time.monotonic() + GOODBYE_S, []
    for node in living(out):
        with handle(node) as process:
            if process and not await ends(process, max(0.0, limit - time.monotonic())):
                left.append(node)
                send(process, signal.SIGKILL)
    return left


def _last(folder: Path, name: str) -> Checkpoint | None:
    """Return a node's last checkpoint."""
    store = CheckpointStore(folder, name)
    run = store.current()
    return store.run(run).last() if run else None


async def disturbed(config: Config, out: Path, seconds: float, seed: int) -> Findings:
    """Run the federation under faults, then the same without."""
    begin = time.monotonic()
    async with launched(config, out) as soak:
        await soak.run(seconds, seed)
        ran = time.monotonic() - begin
    left = await orphans(out)
    last = [_last(out / "checkpoints", name) for name in (CLOUD, *config.tree())]
    kept = last[0]
    if kept is None or kept.round < 2:
        raise SystemExit("\n".join([f"no round was done; the run folder is {out}", *soak.trouble]))
    print(f"{ran:.0f} s are over; {kept.round - 1} rounds again, undisturbed", flush=True)
    return Findings(
        config=config,
        seconds=ran,
        trouble=soak.trouble,
        rounds=[line["round"] for line in metrics(out)],
        kept=kept.round,
        struck=soak.saboteur.struck,
        missed=soak.saboteur.missed,
        deaf=soak.saboteur.deaf,
        survived=sum(map(faults, filter(None, last)), Faults()),
        lives=soak.lives,
        orphans=left,
        hashes=(model_hash(kept.arrays["base"]), undisturbed(out, kept.round - 1)),
    )


def names(config: Config) -> list[str]:
    """Return the names of all nodes."""
    tree = config.tree()
    return [CLOUD, *tree, *(device for devices in tree.values() for device in devices)]


def federation(topology: Path | None, dataset: str, ports: Ports) -> Config:
    """Return a configuration that runs for ever, on fixed addresses."""
    sets = [
        f"data.dataset={dataset}", "restart=always", "runtime=process",
        "algorithm.schedule=constant", f"algorithm.rounds={FOREVER}",
    ]  # fmt: skip
    plain = load_config(topology, sets)
    listens = {"cloud": plain.cloud.address}
    listens |= {f"edges.{edge.name}": edge.address for edge in plain.edges}
    sets += [f"{key}.address={ports.fix(key, address)}" for key, address in listens.items()]
    return resolve(load_config(topology, sets))


def main() -> int:
    """Soak, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.soak")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1, help="of the faults")
    parser.add_argument("--topology", type=Path, help="by default the demo's")
    parser.add_argument("--dataset", default="fashion-mnist")
    asked = parser.parse_args()
    out = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        with Ports() as ports:
            config = federation(asked.topology, asked.dataset, ports)
            with claimed(config, out):
                found = asyncio.run(disturbed(config, out, asked.seconds, asked.seed))
    except HierflError as error:
        print(render(error), file=sys.stderr)
        return error.exit_code
    print(table(found))
    problems = broken(found)
    for problem in problems:
        print(f"BROKEN: {problem}")
    if problems:
        print(f"the run folder is {out}")
        return 1
    shutil.rmtree(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
