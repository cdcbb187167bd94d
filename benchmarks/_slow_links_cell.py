"""One run of `slow_links`: what is asked of it, and what came out."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from deploy.experiments.trials import folder_name
from hierfl.units import duration

DOWN = 4
"""How many times faster devices receive than they send."""


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """Return the rounds in a run folder, but for a line that is still being written."""
    file = folder / "metrics.jsonl"
    text = file.read_text() if file.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


@dataclass(frozen=True)
class Cell:
    """What is asked.

    Attributes:
        algorithm: its name, maybe with settings in braces.
        rate: of the devices' uplinks, Mbit/s.
        target: the accuracy at which the run ends.
        limit: seconds after which it ends in any case.
        sets: further settings, `key=value`.
    """

    algorithm: str
    rate: float
    target: float
    limit: float
    sets: tuple[str, ...]

    @property
    def name(self) -> str:
        """What its files are called."""
        return folder_name(self.algorithm, f"{self.rate:g}mbit")

    @property
    def links(self) -> str:
        """The topology's `links`."""
        up, down = round(1000 * self.rate), round(DOWN * 1000 * self.rate)
        device = f"{{up: {up}kbit, down: {down}kbit}}"
        return f"links={{device: {device}, edge: {{up: 100mbit, down: 100mbit}}}}"


@dataclass(frozen=True)
class Run:
    """What came out.

    Attributes:
        cell: what was asked.
        lines: a round each: round, steps, wall_s, accuracy, bytes (payload; not known of Flower's
            engine) and wire, both on the four links.
        devices: how many devices there are.
        complete: whether the run has had all its rounds.
    """

    cell: Cell
    lines: list[dict[str, Any]]
    devices: int
    complete: bool

    @property
    def reached(self) -> dict[str, Any] | None:
        """The line of the first round that reaches the target."""
        return next((line for line in self.lines if line["accuracy"] >= self.cell.target), None)

    def answers(self, cell: Cell) -> bool:
        """Whether nothing more would come out if that were asked."""
        same = replace(self, cell=cell)
        return same.reached is not None or self.complete or self.cell.limit >= cell.limit

    def until(self, cell: Cell) -> Run:
        """Return what would have come out if that had been asked."""
        same = replace(self, cell=cell)
        end = same.reached
        return replace(same, lines=self.lines[: self.lines.index(end) + 1]) if end else same

    def __str__(self) -> str:
        if end := self.reached:
            return f"{end['accuracy']:.2%} after {duration(end['wall_s'])}, {end['round']} rounds"
        best = max((line["accuracy"] for line in self.lines), default=0.0)
        return f"not reached; {best:.2%} after {len(self.lines)} rounds"

    def write(self, file: Path) -> None:
        """Keep it."""
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_suffix(".part")
        beside.write_text(json.dumps(asdict(self)))
        beside.rename(file)

    @classmethod
    def read(cls, file: Path) -> Run:
        """Undo `write`."""
        data = json.loads(file.read_text())
        asked = data.pop("cell")
        return cls(Cell(**{**asked, "sets": tuple(asked["sets"])}), **data)
