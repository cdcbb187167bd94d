"""A round's log of decisions, and the requests that are made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hierfl.link import frames
from hierfl.link import link_pb2 as pb
from hierfl.link.steps import Request
from hierfl.protocol.messages import Redo


class Journal:
    """The decisions of one round; a device that lacks some is sent those with its next request.

    Args:
        round_: the round.
        claimed: how many samples each device says that it holds, by node id.
        examples: as how many each counts, by position. Both are changed by the owner as devices
            join, who calls `electorate_changed` then.
        opening: the answer to the devices' parts in the round's opening.

    Attributes:
        round: as above.
        decisions: of the steps that are closed.
    """

    def __init__(
        self,
        round_: int,
        claimed: Mapping[int, int],
        examples: Sequence[int],
        opening: bytes,
    ) -> None:
        self.round = round_
        self.decisions: list[bytes] = []
        self._claimed = claimed
        self._examples = examples
        self._opening = opening
        self._requests: dict[tuple[int, bool], Request] = {}

    @property
    def step(self) -> int:
        """The open step, from 1."""
        return len(self.decisions) + 1

    def close(self, decision: bytes) -> None:
        """Note the open step's decision."""
        self.decisions.append(decision)
        self._requests.clear()

    def electorate_changed(self) -> None:
        """The number of samples, or of devices, has changed."""
        self._requests.clear()

    def request(self, after: int, first: bool) -> Request:
        """Return the open step's request; what several devices are asked is serialized once.

        Args:
            after: how many decisions the device has applied.
            first: whether it has not heard yet what a round's first request says.
        """
        if (after, first) not in self._requests:
            self._requests[after, first] = self._make(after, first)
        return self._requests[after, first]

    def redo(self) -> Redo:
        """Return what takes a device through the whole round once more."""
        examples, devices, most = self._electorate()
        return Redo(examples, devices, self.decisions[:-1], self._opening, most)

    def _make(self, after: int, first: bool) -> Request:
        step = self.step
        request = pb.StepRequest(
            round=self.round, step=step, after=after, decisions=self.decisions[after:]
        )
        if first:
            request.examples, request.devices, request.most_examples = self._electorate()
            request.opening = self._opening
        payload = frames.step_payload(request)
        return Request(self.round, step, frames.step_request(request), payload)

    def _electorate(self) -> tuple[int, int, int]:
        """Return the number of samples, of the devices that hold them, and a device's most.

        The last is 0 where every device counts as many as it holds.
        """
        cut = any(self._examples[node_id - 1] < said for node_id, said in self._claimed.items())
        devices = sum(1 for examples in self._examples if examples)
        return sum(self._examples), devices, max(self._examples) if cut else 0
