"""What a load test has measured, from the notes of its processes."""

from __future__ import annotations

import json
import resource
import statistics
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from deploy.loadtest.load import Load
from hierfl.errors import RunFailed

AFTER_S = 0.5
"""A sample so many seconds after the last step is still one of the last round."""

Note = dict[str, Any]


@dataclass(frozen=True)
class Notes:
    """What one process has noted.

    Attributes:
        name: the process.
        lines: in the order of time.
    """

    name: str
    lines: list[Note]

    @classmethod
    def read(cls, file: Path) -> Notes:
        """Read a meter's file; a last line that was cut off by a kill is left out."""
        lines = []
        for text in file.read_text().splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                continue
        return cls(file.stem, lines)

    def having(self, key: str) -> list[Note]:
        """Return the lines that have a key."""
        return [line for line in self.lines if key in line]

    def lives(self) -> list[list[Note]]:
        """Return the samples of each process of this name; one that was killed is followed."""
        lives: list[list[Note]] = [[]]
        for sample in self.having("cpu"):
            if lives[-1] and sample["cpu"] < lives[-1][-1]["cpu"]:
                lives.append([])
            lives[-1].append(sample)
        return lives

    def cpu(self, start: float, end: float) -> float:
        """Return the processor time spent between two times, s."""
        return sum(_at(life, end) - _at(life, start) for life in self.lives())

    def growth(self, start: float, end: float) -> int:
        """Return by how many bytes its memory had grown at most between two times."""
        grown = [
            int(sample["rss"]) - int(life[0]["rss"])
            for life in self.lives()
            for sample in life
            if start <= sample["at"] <= end
        ]
        return max(grown, default=0)

    def most(self, key: str) -> int:
        """Return the largest value in the samples."""
        return max(int(line[key]) for line in self.having(key))


def _at(life: list[Note], time: float) -> float:
    """Return the processor time that a process had used at a time, between its samples."""
    i = bisect([sample["at"] for sample in life], time)
    if i == 0 or i == len(life):
        return float(life[min(i, len(life) - 1)]["cpu"]) if life else 0.0
    before, after = life[i - 1], life[i]
    share = (time - before["at"]) / (after["at"] - before["at"])
    return float(before["cpu"] + share * (after["cpu"] - before["cpu"]))


@dataclass(frozen=True)
class Figures:
    """What a load test has measured. Times are in seconds, memory in bytes.

    Attributes:
        devices, edges, parameters, steps: what was asked for, in whole rounds.
        there_s: from the first device's first attempt until all devices are attached.
        first_base_s: from then until all devices hold the first base, the whole model.
        run_s: from the first step's beginning to the last one's end.
        step_s, step_p95_s: a step's duration at an edge, median and 95th percentile.
        edge_cpu_s: processor time of an edge for a device and step.
        edge_round_cpu_s: what an edge spends for a device and round beside its steps, and
        cloud_cpu_s: what the cloud spends for an edge and round, without the first base.
        child_cpu_s: that of the process that holds the device.
        edge_memory, child_memory: by which a process grows for each device, in the last round.
        edge_peak, child_peak: the same at the most, while first bases are sent.
        memory: of all processes together, at the most.
        votes_per_s: ballots that all edges count together.
        lost: ballots that were missing, over all rounds' worst steps.
        faults: what the run has survived, as in a run's summary.json.
        payload: bytes of payload between edges and devices, both ways.
        hash: of the last model.
        shares: what of the machine was used, as a share of what there is, the most used first.
        killed: whether an edge was killed on the way.
    """

    devices: int
    edges: int
    parameters: int
    steps: int
    there_s: float
    first_base_s: float
    run_s: float
    step_s: float
    step_p95_s: float
    edge_cpu_s: float
    edge_round_cpu_s: float
    cloud_cpu_s: float
    child_cpu_s: float
    edge_memory: float
    child_memory: float
    edge_peak: float
    child_peak: float
    memory: int
    votes_per_s: float
    lost: int
    faults: dict[str, int]
    payload: int
    hash: str
    shares: dict[str, float]
    killed: bool


@dataclass(frozen=True)
class Measured:
    """The notes of all processes of a load test.

    Attributes:
        load: what was asked for.
        cloud: the cloud's notes.
        edges: the edges'.
        hosts: those of the processes that hold devices.
    """

    load: Load
    cloud: Notes
    edges: list[Notes]
    hosts: list[Notes]

    @classmethod
    def read(cls, load: Load, folder: Path) -> Measured:
        """Read the meters' files.

        Raises:
            RunFailed: if something was not noted.
        """
        notes = [Notes.read(file) for file in sorted(folder.glob("*.jsonl"))]
        hosts = [each for each in notes if each.name.startswith("devices-")]
        edges = [each for each in notes if each.name.startswith("edge-")]
        cloud = next((each for each in notes if each.name == "cloud"), None)
        if cloud is None or not cloud.having("hash") or not all(map(_has_rounds, edges)):
            raise RunFailed(f"{folder} does not hold the notes of a whole load test")
        return cls(load, cloud, edges, hosts)

    @property
    def everybody(self) -> list[Notes]:
        """All processes."""
        return [self.cloud, *self.edges, *self.hosts]

    def step_times(self) -> Iterator[tuple[float, float]]:
        """Yield when each step of each edge ended, and how long it took, s."""
        for edge in self.edges:
            for line in edge.having("marks"):
                for (before, _), (after, _) in pairwise(line["marks"]):
                    yield after, after - before

    def window(self) -> tuple[float, float]:
        """Return when the first step began, and when the last one ended."""
        marks = [line["marks"] for edge in self.edges for line in edge.having("marks")]
        return min(each[0][0] for each in marks), max(each[-1][0] for each in marks)

    def figures(self, cores: int, memory: int) -> Figures:
        """Return what was measured.

        Args:
            cores: processors of this machine.
            memory: bytes of it that were available.
        """
        load, (start, end) = self.load, self.window()
        attached = max(edge.having("attached")[0]["at"] for edge in self.edges)
        began = min(host.having("began")[0]["at"] for host in self.hosts)
        durations = sorted(seconds for _, seconds in self.step_times())
        last = self.cloud.having("hash")[0]
        votes = load.devices * load.rounds * load.edge_steps
        counted = sum(
            (line["marks"][-1][1] - line["marks"][0][1])
            for edge in self.edges
            for line in edge.having("marks")
        )
        between = max(1, load.rounds - 1)  # as often all go from one base to the next
        edges_cpu = sum(edge.cpu(start, end) for edge in self.edges)
        last_round = max(edge.having("marks")[-1]["marks"][0][0] for edge in self.edges)
        used = self._memory()
        return Figures(
            devices=load.devices,
            edges=load.edges,
            parameters=load.parameters,
            steps=load.rounds * load.edge_steps,
            there_s=attached - began,
            first_base_s=self.cloud.having("base")[0]["at"] - attached,
            run_s=end - start,
            step_s=statistics.median(durations),
            step_p95_s=durations[int(0.95 * len(durations))],
            edge_cpu_s=counted / votes,
            edge_round_cpu_s=(edges_cpu - counted) / (load.devices * between),
            cloud_cpu_s=self.cloud.cpu(start, end) / (load.edges * between),
            child_cpu_s=sum(host.cpu(start, end) for host in self.hosts) / votes,
            edge_memory=self._growth(self.edges, last_round, end + AFTER_S),
            child_memory=self._growth(self.hosts, last_round, end + AFTER_S),
            edge_peak=self._growth(self.edges, 0.0, end),
            child_peak=self._growth(self.hosts, 0.0, end),
            memory=used,
            votes_per_s=votes / (end - start),
            lost=sum(self._lost()),
            faults=last["faults"],
            payload=last["payload"],
            hash=last["hash"],
            shares=self._shares(cores, memory, used),
            killed=load.kill is not None,
        )

    def _memory(self) -> int:
        """Return the most that all processes held at a time."""
        samples = [
            (line["at"], each.name, int(line["pss"]))
            for each in self.everybody
            for line in each.having("pss")
        ]
        held: dict[str, int] = {}
        most = 0
        for _, name, share in sorted(samples):
            held[name] = share
            most = max(most, sum(held.values()))
        return most

    def _growth(self, processes: list[Notes], start: float, end: float) -> float:
        return sum(each.growth(start, end) for each in processes) / self.load.devices

    def _lost(self) -> Iterator[int]:
        devices = {edge: len(names) for edge, names in self.load.tree().items()}
        for line in self.cloud.having("voters"):
            for edge, names in devices.items():
                yield names - line["voters"].get(edge, 0)

    def _shares(self, cores: int, memory: int, used: int) -> dict[str, float]:
        start, end = self.window()
        seconds = end - start
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        edge = max(self.edges, key=lambda each: each.cpu(start, end))
        host = max(self.hosts, key=lambda each: each.cpu(start, end))
        all_cpu = sum(each.cpu(start, end) for each in self.everybody)
        shares = {
            f"one core, by {edge.name}": edge.cpu(start, end) / seconds,
            f"one core, by {host.name}": host.cpu(start, end) / seconds,
            f"all {cores} cores of this machine": all_cpu / (cores * seconds),
            "descriptors of a process": max(each.most("open") for each in self.everybody) / limit,
            "memory of this machine": used / memory,
        }
        return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _has_rounds(edge: Notes) -> bool:
    return bool(edge.having("marks") and edge.having("attached"))
