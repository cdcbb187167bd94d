"""The run folder: what a run leaves behind."""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cloud.course import Course
from cloud.metrics import Figures, RoundMetrics, Summary, Worst, figures_in
from cloud.result import RoundResult
from cloud.views.base import RoundEvaluated, RunFinished, TrainingStarted, View
from hierfl.config import Config
from hierfl.errors import HierflError
from hierfl.learning.flat_model import FlatModel
from hierfl.learning.model_file import to_safetensors
from hierfl.link.traffic import Faults, Traffic
from hierfl.planning.forecast import forecast
from hierfl.planning.plan import Plan
from hierfl.planning.privacy import Spending
from hierfl.process.patience import patiently
from hierfl.process.replace_file import replace_file
from hierfl.protocol.facts import Facts
from hierfl.protocol.vectors import model_hash
from hierfl.report import page
from hierfl.runs import interface_counters
from hierfl.runs.results import load_run

log = logging.getLogger(__name__)

Carried = dict[str, int] | None


@dataclass(frozen=True)
class Final:
    """What is known at the end of a run."""

    base: np.ndarray
    buffers: np.ndarray
    devices: Traffic
    edges: Traffic
    faults: Faults


class Record:
    """Writes the run folder while the run goes on, and tells the view.

    Args:
        config: the federation's resolved configuration.
        plan: what it means for the model.
        model: is given the last base's values, and written.
        out: the folder, which exists.
        view: receives every round, and the end.

    Attributes:
        evaluations: of earlier processes: rounds, and the figures after them.

    Raises:
        HierflError: if the folder cannot be written to.
        ConfigError: if what `privacy` spends cannot be counted, or is too much.
    """

    def __init__(self, config: Config, plan: Plan, model: FlatModel, out: Path, view: View) -> None:
        self._config = config
        self._plan = plan
        self._model = model
        self._out = out
        self._view = view
        self._forecast = forecast(config, plan)
        self._spending = Spending(config) if config.privacy is not None else None
        self._lock = threading.Lock()
        self._results: dict[int, tuple[RoundResult, float, Carried]] = {}
        self._last: dict[str, Any] = {}
        self._earlier = 0.0
        self.evaluations: list[tuple[int, dict[str, float | None]]] = []
        self._missing = 0  # lines of metrics.jsonl that were lost
        self._begin = time.monotonic()
        self._metrics = out / "metrics.jsonl"
        if not (out / "config.yaml").exists():
            _replace(out / "config.yaml", config.to_yaml().encode())
        with _writing(self._metrics):
            self._metrics.touch()

    def go_on(self, last: RoundResult | None) -> RoundResult | None:
        """Keep the lines up to the last round that is done, and drop those that will be redone.

        Args:
            last: that round's result; None at a run's beginning.

        Returns:
            The result whose line is still missing, because its evaluation is, or None.

        Raises:
            HierflError: if that fails.
        """
        done = last.round if last else 0
        with _writing(self._metrics):
            lines = self._keep_lines(done)
        self._missing = done - len(lines)
        self.evaluations = [(line["round"], figures_in(line)) for line in lines]
        if lines:
            self._last = lines[-1]
            self._earlier = self._last["wall_s"]
            self._begin = time.monotonic() - self._earlier
        if last is None or (lines and lines[-1]["round"] == last.round):
            return None
        self._missing -= 1
        self.round(last)
        return last

    def facts(self, facts: Facts) -> None:
        """Write what is known of all nodes' data, which the model needs to be used.

        Raises:
            HierflError: if that fails.
        """
        _replace(self._out / "facts.json", facts.to_bytes() + b"\n")

    def _keep_lines(self, done: int) -> list[dict[str, Any]]:
        """Leave the lines of so many rounds in metrics.jsonl, and return them.

        Raises:
            OSError: if that fails.
        """
        lines, kept, end, place = list[dict[str, Any]](), list[bytes](), 0, 0
        for text in self._metrics.read_bytes().splitlines(keepends=True):
            place += len(text)
            line = _parsed(text)
            if line and (lines[-1]["round"] if lines else 0) < line["round"] <= done:
                lines.append(line)
                kept.append(text)
                end = place
        if sum(map(len, kept)) == end:
            os.truncate(self._metrics, end)  # what is kept is not written again: it cannot be lost
        else:
            aside = self._metrics.with_name("metrics.damaged.jsonl")
            log.warning("%s is damaged: it is %s now, what is whole stays", self._metrics, aside)
            os.replace(self._metrics, aside)
            _replace(self._metrics, b"".join(kept))
        return lines

    def start(self) -> None:
        """All nodes are at the first base: the clock starts."""
        self._begin = time.monotonic() - self._earlier
        self._view.handle(TrainingStarted(self._forecast))

    def round(self, result: RoundResult) -> None:
        """Take a round's result; its line is written when its evaluation is there."""
        with self._lock:
            self._results[result.round] = (
                result,
                time.monotonic() - self._begin,
                interface_counters.carried(),
            )

    def best(self, base: np.ndarray, buffers: np.ndarray) -> None:
        """Keep a model as the best so far.

        Raises:
            HierflError: if that fails.
        """
        self._write_model("best.safetensors", base, buffers)

    def evaluation(self, round_: int, figures: Figures, worst: Worst | None = None) -> None:
        """Write a round's line.

        Args:
            round_: the round.
            figures: how good the model is after it; empty where nobody has looked.
            worst: the worst device's figure, where devices have looked.

        Raises:
            HierflError: if that fails.
        """
        with self._lock:
            result, wall, carried = self._results.pop(round_)
        metrics = RoundMetrics(
            round=round_,
            steps=round_ * self._config.algorithm.edge_steps,
            wall_s=round(wall, 3),
            figures=figures,
            train_loss=result.loss if self._config.report_loss else None,
            lr=result.lr,
            bytes=by_link(result.devices, result.edges, "payload"),
            quorum=result.voters,
            worst=worst,
            wire=carried or None,
            epsilon=self._spending.after(round_) if self._spending else None,
        )
        line = self._last = metrics.to_json()
        text = json.dumps(line, allow_nan=False).encode() + b"\n"
        with _writing(self._metrics):
            patiently(lambda: _append(self._metrics, text), f"write {self._metrics}")
        self._view.handle(RoundEvaluated(metrics))

    def finish(self, final: Final, rounds: int, course: Course) -> None:
        """Write the model, the summary and the report.

        Args:
            final: what is known at the end.
            rounds: how many were run.
            course: what evaluations came to.

        Raises:
            HierflError: if that fails.
        """
        wall, carried = time.monotonic() - self._begin, interface_counters.carried()
        steps = rounds * self._config.algorithm.edge_steps
        tree = self._config.tree()
        sent = by_link(final.devices, final.edges, "payload")
        best = None
        if course.best is not None and self._config.evaluate.compares:
            best = dict(zip(("round", self._config.evaluate.metric), course.best, strict=True))
        summary = Summary(
            algorithm=self._config.algorithm.name,
            model=self._config.model_name,
            parameters=self._model.layout.d,
            devices=sum(len(devices) for devices in tree.values()),
            edges=len(tree),
            rounds=rounds,
            steps=steps,
            figures=figures_in(self._last),
            worst=Worst(**self._last["worst"]) if "worst" in self._last else None,
            stopped=course.stopped if rounds < self._config.algorithm.rounds else None,
            best=best,
            wall_s=round(wall, 3),
            steps_per_s=round(steps / self._last["wall_s"], 3),
            model_sha256=model_hash(final.base),
            bytes=sent,
            float32=self._forecast.float32_of(sent),
            messages=by_link(final.devices, final.edges, "messages"),
            faults=asdict(final.faults),
            wire=carried or None,
            metrics_missing=self._missing or None,
            privacy=self._spending.summary(rounds) if self._spending else None,
        )
        self._write_model("model.safetensors", final.base, final.buffers)
        text = json.dumps(summary.to_json(), indent=2, allow_nan=False)
        _replace(self._out / "summary.json", text.encode() + b"\n")
        self._report()
        self._view.handle(RunFinished(summary))

    def _report(self) -> None:
        """Write report.html. The run is whole without it: what fails is logged."""
        try:
            _replace(self._out / "report.html", page.report([load_run(self._out)]).encode())
        except Exception as error:
            log.warning("no report.html was written: %s: %s", type(error).__name__, error)

    def _write_model(self, name: str, base: np.ndarray, buffers: np.ndarray) -> None:
        self._model.weights[:] = base
        self._model.set_buffers(buffers)
        self._model.enter()
        _replace(self._out / name, to_safetensors(self._model.module))


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a file into a HierflError."""
    try:
        yield
    except OSError as error:
        raise HierflError(
            f"cannot write {path}: {error.strerror}",
            "Make room or mend the folder; `hierfl run --resume --out DIR` then goes on from the "
            "last good checkpoint.",
        ) from error


def _replace(path: Path, data: bytes) -> None:
    """Write a file: whole, or not at all.

    Raises:
        HierflError: if that fails.
    """
    with _writing(path):
        patiently(lambda: replace_file(path, data), f"write {path}")


def _append(path: Path, line: bytes) -> None:
    """Append a line: whole, or not at all.

    Raises:
        OSError: if that fails.
    """
    with path.open("ab", buffering=0) as file:
        end = file.tell()
        try:
            written = file.write(line)
            if written < len(line):  # the disk became full within the line
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with suppress(OSError):
                os.truncate(path, end)
            raise


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Return a line of metrics.jsonl; None if it was cut off."""
    if not line.endswith(b"\n"):
        return None
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or type(data.get("round")) is not int:
        return None
    return data if isinstance(data.get("wall_s"), int | float) else None


def by_link(devices: Traffic, edges: Traffic, what: str) -> dict[str, int]:
    """Return one kind of count on the four links."""
    return {
        "device_up": getattr(devices.up, what),
        "device_down": getattr(devices.down, what),
        "edge_up": getattr(edges.up, what),
        "edge_down": getattr(edges.down, what),
    }
