"""What FedAvg needs of a reply: one device that lacks it must not stop the others."""

from __future__ import annotations

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

    def flaw(self, content: RecordDict, sent: ArrayRecord | None) -> str | None:
        """Return what is wrong with a reply, or None.

        Args:
            content: the reply's.
            sent: the arrays that it was asked to train; None: it was asked for metrics alone.
        """
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
    more = [key for key in returned if key not in sent]
    return f"it returned an array {more[0]!r}, which the model has not" if more else None
