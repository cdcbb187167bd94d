"""What a round came to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from hierfl.errors import PayloadError
from hierfl.link.traffic import Traffic
from hierfl.protocol.checkpoint import Json


@dataclass(frozen=True)
class RoundResult:
    """What a round came to, before the evaluation.

    Attributes:
        round: t.
        lr: its learning rate.
        loss: mean loss of the devices' minibatches.
        voters: by edge, the smallest number of ballots that a step had.
        seconds: by edge, how long its steps took.
        devices: traffic between edges and devices so far.
        edges: traffic between cloud and edges so far.
    """

    round: int
    lr: float
    loss: float
    voters: dict[str, int]
    seconds: dict[str, float]
    devices: Traffic
    edges: Traffic

    def to_json(self) -> dict[str, Json]:
        """Return it as plain data."""
        traffic = {"devices": self.devices.to_list(), "edges": self.edges.to_list()}
        return {**asdict(self), **traffic}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> RoundResult:
        """Undo `to_json`.

        Raises:
            PayloadError: if it is something else.
        """
        try:
            traffic = {key: Traffic.from_list(data[key]) for key in ("devices", "edges")}
            return cls(**{**data, **traffic})
        except (KeyError, TypeError) as error:
            raise PayloadError(f"a round's result without {error}") from None
