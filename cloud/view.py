"""What a person sees of a run: the interface that the cloud talks to."""

from __future__ import annotations

from typing import Any


class View:
    """Sees nothing. Subclasses show what they are told; calls come from several threads."""

    def presence(self, edge: str, attached: bool) -> None:
        """An edge has come or gone."""

    def start(self) -> None:
        """The tree is complete; training begins."""

    def progress(self, edge: str, news: bytes) -> None:
        """Take an edge's news: JSON with round, step, steps_per_s, voters and payload (bytes)."""

    def round(self, line: dict[str, Any]) -> None:
        """Take a round's line of metrics.jsonl."""

    def finish(self, summary: dict[str, Any]) -> None:
        """Take the summary."""

    def close(self) -> None:
        """The run is over, well or not."""
