"""Events at a grid's children, for the thread that waits for replies and steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hierfl.link import link_pb2 as pb
from hierfl.link.steps import StepRound


class Arrival(NamedTuple):
    """A frame from a child, and its length in bytes."""

    child: str
    frame: pb.Frame
    size: int


class Broken(NamedTuple):
    """A child broke the protocol."""

    child: str
    reason: str


class Banned(NamedTuple):
    """A child has lost its place for the run."""

    child: str


class Aborted(NamedTuple):
    """The run cannot go on."""

    reason: str


class LacksBase(NamedTuple):
    """A child cannot vote: it lacks the round's base."""

    round: StepRound
    node_id: int


class StepsOver(NamedTuple):
    """A round's steps are over, or have failed."""

    round: StepRound
    error: Exception | None


class Call(NamedTuple):
    """A method of the step exchange is to be called."""

    function: Callable[..., None]
    arguments: tuple[object, ...]


Event = Arrival | Broken | Banned | Aborted | LacksBase | StepsOver | Call
