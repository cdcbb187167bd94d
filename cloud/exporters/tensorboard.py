"""Figures of a run as TensorBoard's event files."""

from __future__ import annotations

from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event as TensorBoardEvent
from tensorboard.compat.proto.summary_pb2 import Summary as TensorBoardSummary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from cloud.exporters.figures import scalars
from cloud.views.base import Event, RoundEvaluated, View


class TensorBoard(View):
    """Writes each round's figures into an event file; the step is the round.

    Args:
        folder: of the event files; `tensorboard --logdir FOLDER` shows them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: EventFileWriter | None = None

    def handle(self, event: Event) -> None:
        """Write a round's figures, and see that they are in the file."""
        if not isinstance(event, RoundEvaluated):
            return
        if self._writer is None:
            self._writer = EventFileWriter(str(self._folder))
        metrics = event.metrics
        values = [
            TensorBoardSummary.Value(tag=tag, simple_value=value)
            for tag, value in scalars(metrics).items()
        ]
        self._writer.add_event(
            TensorBoardEvent(step=metrics.round, summary=TensorBoardSummary(value=values))
        )
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
