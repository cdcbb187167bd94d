"""What FedAvg needs of a reply: one device that lacks it must not stop the others."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from flwr.app import ArrayRecord, Message, RecordDict

from hierfl.errors import shortened


def reason(reply: Message) -> str:
    """Return what an error reply says."""
    return shortened(reply.error.reason or "no reason was given")


class Screen:
    """Finds the replies that FedAvg could not aggregate.

    Flower's FedAvg refuses a whole round where one reply differs from the others.

    Args:
        weight: the metric by which replies are weighted.
    """

    def __init__(self, weight: str) -> None:
        self._weight = weight

    def flaws(self, replies: Sequence[Message], sent: ArrayRecord | None) -> dict[int, str]:
        """Return what is wrong with replies: node id -> what, of those with a flaw.

        Args:
            replies: to one round, none of them an error.
            sent: the arrays that nodes were asked to train; None: they were asked for metrics.
        """
        flaws, sound = {}, {}
        for reply in replies:
            node = reply.metadata.src_node_id
            if flaw := self._flaw(reply.content, sent):
                flaws[node] = flaw
            else:
                sound[node] = _keys(reply.content)
        if sound:
            usual, _ = Counter(sound.values()).most_common(1)[0]
            for node, keys in sound.items():
                if keys != usual:
                    flaws[node] = f"it returned {_said(keys)}, where most returned {_said(usual)}"
        return flaws

    def _flaw(self, content: RecordDict, sent: ArrayRecord | None) -> str | None:
        """Return what is wrong with a reply by itself, or None."""
        if sent is not None:
            if len(content.array_records) != 1:
                return f"it returned {len(content.array_records)} ArrayRecords, where 1 is needed"
            (returned,) = content.array_records.values()
            if flaw := _difference(returned, sent):
                return flaw
        if len(content.metric_records) != 1:
            return f"it returned {len(content.metric_records)} MetricRecords, where 1 is needed"
        (metrics,) = content.metric_records.values()
        weight = metrics.get(self._weight)
        if not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
            said = "has no" if weight is None else f"has {weight!r} as"
            return f"its MetricRecord {said} {self._weight!r}, the number of examples"
        return None


def _difference(returned: ArrayRecord, sent: ArrayRecord) -> str | None:
    """Return how a model differs in its arrays' names or shapes from the one that was sent."""
    for key in sent:
        if key not in returned:
            return f"it returned no array {key!r}, which the model has"
        ours, theirs = tuple(sent[key].shape), tuple(returned[key].shape)
        if ours != theirs:
            return f"it returned {key!r} with the shape {theirs}, where the model has {ours}"
        if not math.isfinite(float(returned[key].numpy().sum(dtype=np.float64))):
            return f"it returned {key!r} with values that are not finite"
    more = [key for key in returned if key not in sent]
    return f"it returned an array {more[0]!r}, which the model has not" if more else None


Keys = frozenset[tuple[str, str, int]]
"""Of metrics: the record's name, the metric's, and how many values it has, 0 for a number."""


def _keys(content: RecordDict) -> Keys:
    return frozenset(
        (name, key, len(value) if isinstance(value, list) else 0)
        for name, record in content.metric_records.items()
        for key, value in record.items()
    )


def _said(keys: Keys) -> str:
    listed = sorted(f"{name}/{key}{f'[{length}]' if length else ''}" for name, key, length in keys)
    return f"the metrics {', '.join(listed)}"
