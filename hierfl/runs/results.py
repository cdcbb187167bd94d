"""A run read back from its folder: configuration, metrics, summary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from hierfl.config import Config, load_config
from hierfl.errors import ConfigError, HierflError
from hierfl.runs import lines

Row = Mapping[str, Any]

AXES = ("round", "steps", "wall_s", "bytes", "bytes_all")
"""What a curve may be drawn against: `bytes` is the payload of one device, up and down, `bytes_all`
that of all links."""


EVENTS = "events.jsonl"
"""The file of what has happened to nodes in training."""

MAIN_METRICS = ("accuracy", "mean_iou", "r2", "mse", "perplexity")
"""A run is judged by the first of these that it has."""


class Metrics(Sequence[Row]):
    """The lines of metrics.jsonl, one a round.

    >>> metrics = Metrics([{"round": 1, "accuracy": 0.5}, {"round": 2, "accuracy": 0.75}])
    >>> metrics.column("accuracy")
    [0.5, 0.75]
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = list(rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> Metrics: ...

    def __getitem__(self, index: int | slice) -> Row | Metrics:
        """Return a round's line, or some lines."""
        return Metrics(self._rows[index]) if isinstance(index, slice) else self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def names(self) -> list[str]:
        """Return the names of the columns of numbers, in the order of their first appearance."""
        found: dict[str, None] = {}
        for row in self._rows:
            found.update(dict.fromkeys(name for name, value in row.items() if _is_number(value)))
        return list(found)

    def column(self, name: str) -> list[float | None]:
        """Return one value a round; None where a round has none (it was not evaluated)."""
        return [row[name] if _is_number(row.get(name)) else None for row in self._rows]

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame, indexed by round; nested columns are `bytes.device_up` etc.

        Raises:
            ImportError: if pandas is not installed.
        """
        import pandas

        return pandas.json_normalize([dict(row) for row in self._rows]).set_index("round")


@dataclass(frozen=True)
class RunResult:
    """What a run has left in its folder.

    Attributes:
        folder: the run folder.
        config: its resolved configuration.
        metrics: a row a round.
        summary: that of a run that is done; None otherwise.
        damaged: what could not be read, in words.
        events: what has happened to nodes in training, in time: `wall_s`, `node`, `what`, and
            `bad`, whether it is a fault.
    """

    folder: Path
    config: Config
    metrics: Metrics
    summary: Mapping[str, Any] | None
    damaged: tuple[str, ...] = field(default=())
    events: tuple[Row, ...] = field(default=())

    @property
    def label(self) -> str:
        """The run's name among several: that of its folder."""
        return self.folder.resolve().name

    @property
    def devices(self) -> int:
        """How many devices the topology has."""
        return sum(len(devices) for devices in self.config.tree().values())

    @property
    def bytes(self) -> Mapping[str, int]:
        """The payload of each link over the run so far, in bytes."""
        if self.summary is not None:
            return dict(self.summary["bytes"])
        return dict(self.metrics[-1]["bytes"]) if self.metrics else {}

    def axis(self, name: str) -> list[float]:
        """Return the values of one of `AXES`, one a round.

        Raises:
            ConfigError: if there is no such axis.
        """
        if name not in AXES:
            raise ConfigError("--x", f"should be one of {', '.join(AXES)}, not {name!r}")
        if name == "bytes":
            return [
                (row["bytes"]["device_up"] + row["bytes"]["device_down"]) / self.devices
                for row in self.metrics
            ]
        if name == "bytes_all":
            return [float(sum(row["bytes"].values())) for row in self.metrics]
        return [float(row[name]) for row in self.metrics]

    def curve(self, x: str, y: str) -> tuple[list[float], list[float]]:
        """Return the points of a curve: the rounds in which `y` is known.

        Raises:
            ConfigError: if there is no such axis or column.
        """
        if y not in self.metrics.names():
            known = ", ".join(self.metrics.names()) or "none yet"
            raise ConfigError("--y", f"{self.folder} has no column {y!r}", f"It has {known}.")
        points = zip(self.axis(x), self.metrics.column(y), strict=True)
        known_points = [(a, b) for a, b in points if b is not None]
        return [a for a, _ in known_points], [b for _, b in known_points]


def load_run(folder: Path | str) -> RunResult:
    """Read a run folder, of a run that is done or still going on.

    Lines of metrics.jsonl that are damaged are left out, and named in `damaged`.

    Raises:
        ConfigError: if it is no run folder, or one of another version of hierfl.
    """
    folder = Path(folder)
    if not (folder / "config.yaml").is_file():
        raise ConfigError(
            "", f"{folder} is no run folder: it has no config.yaml", "Give a folder of `runs/`."
        )
    try:
        config = load_config(folder / "config.yaml", [])
    except ConfigError as error:
        raise ConfigError(
            error.path,
            f"{folder / 'config.yaml'} cannot be read by this version of hierfl: {error.message}",
            error.hint,
        ) from None
    if config.app is not None:
        raise ConfigError("", f"{folder} is the run of a Flower app: there are no metrics to read")
    rows, damaged = read_metrics(folder / "metrics.jsonl")
    summary = read_summary(folder / "summary.json")
    events, bad = _lines(folder / EVENTS, lines.event)
    return RunResult(folder, config, Metrics(rows), summary, (*damaged, *bad), tuple(events))


def read_metrics(file: Path) -> tuple[list[Row], list[str]]:
    """Return the whole lines of a metrics.jsonl, and what is damaged, in words.

    Raises:
        HierflError: if it cannot be read.
    """
    found, damaged = _lines(file, lines.line)
    rows, ordered = lines.in_order(found)
    if not ordered:
        damaged.append(f"the rounds of {file.name} were not in order, and are sorted")
    return rows, damaged


def read_summary(file: Path) -> Mapping[str, Any] | None:
    """Return a summary.json, or None where there is none: the run is not done.

    Raises:
        ConfigError: if it is damaged.
        HierflError: if it cannot be read.
    """
    try:
        summary = lines.summary(file.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HierflError(f"cannot read {file}: {error.strerror}") from None
    if summary is None:
        raise ConfigError("", f"{file} is damaged", "Remove it to read the run without it.")
    return summary


def _lines(
    file: Path, parse: Callable[[bytes], dict[str, Any] | None]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the whole lines of a file, and what is damaged, in words.

    Raises:
        HierflError: if it cannot be read.
    """
    try:
        texts = file.read_bytes().splitlines()
    except FileNotFoundError:
        return [], []
    except OSError as error:
        raise HierflError(f"cannot read {file}: {error.strerror}") from None
    found = [parse(text) for text in texts]
    bad = [number for number, row in enumerate(found, start=1) if row is None]
    damaged = []
    if len(bad) == 1:
        damaged.append(f"line {bad[0]} of {file.name} is damaged and is left out")
    elif bad:
        damaged.append(f"{len(bad)} lines of {file.name}, from line {bad[0]} on, are damaged")
    return [row for row in found if row is not None], damaged


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
