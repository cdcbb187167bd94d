"""How fast this machine would be as one device, and the whole federation with devices like it."""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from clients.device import Device, DeviceSettings
from hierfl.algorithms.base import Step
from hierfl.algorithms.schedule import to_bits as rate_bits
from hierfl.config import Config
from hierfl.learning.loaded import known, load_data
from hierfl.learning.setup import make_trainer
from hierfl.learning.threads import threads
from hierfl.learning.trainer import Trainer
from hierfl.link import link_pb2 as pb
from hierfl.planning.forecast import forecast
from hierfl.planning.plan import Plan, make_plan
from hierfl.protocol.messages import Base
from hierfl.protocol.vectors import to_bytes
from hierfl.tls.policy import is_loopback
from hierfl.units import duration, plural, size

SECONDS = 3.0
"""For how long each of the two things is measured."""

EXCHANGE_S = 0.9e-3
"""What a step costs an edge for each of its devices, the exchange over loopback included: as
`benchmarks.step` has measured it, on a machine much quicker than a Raspberry Pi."""


@dataclass(frozen=True)
class Pace:
    """What was measured, and what follows from it.

    Attributes:
        model: how many parameters it has.
        batch: samples in a minibatch.
        gradient_s: seconds for a gradient of one minibatch.
        vote_s: seconds for a whole vote: the last decision applied, gradients taken, a ballot.
        step_s: seconds for a step of the federation, if all devices are as quick as this one and
            no link is in the way; without the cloud's share of a round.
        up: payload bytes that this device sends a step, on average over the run.
        down: payload bytes that it is sent.
        memory: peak of this process, in bytes.
    """

    model: int
    batch: int
    gradient_s: float
    vote_s: float
    step_s: float
    up: float
    down: float
    memory: int


def bench(config: Config, name: str, seconds: float) -> Pace:
    """Measure a device of a resolved configuration on its own data; connect to nothing.

    Raises:
        HierflError: for a failure that the user can correct.
    """
    config.edge(config.parent_of(name))
    data = load_data(config, name)
    trainer = make_trainer(config, name, data, known(data))
    draw = np.random.Generator(np.random.PCG64(config.seed))
    gradient_s = _median(lambda: trainer.gradient(draw), seconds)
    model = trainer.model
    plan = make_plan(config, model.layout, model.buffer_layout.d)
    votes = _votes(config, name, plan, trainer)
    vote_s = _median(lambda: next(votes), seconds)
    devices = sum(len(names) for names in config.tree().values())
    steps = config.algorithm.total_steps
    sent = forecast(config, plan).payload()
    return Pace(
        model.layout.d,
        trainer.batch_size,
        gradient_s,
        vote_s,
        step_s(config, vote_s),
        sent["device_up"] / (steps * devices),
        sent["device_down"] / (steps * devices),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def step_s(config: Config, vote_s: float) -> float:
    """Return how long a step of the federation takes where each device votes within `vote_s`.

    Where all nodes are on one machine they share its cores.
    """
    clusters = [len(names) for names in config.tree().values()]
    if is_here_alone(config):
        return (vote_s + EXCHANGE_S) * max(1.0, sum(clusters) / cores())
    return vote_s + EXCHANGE_S * max(clusters)


def is_here_alone(config: Config) -> bool:
    """Return whether all nodes are on one machine."""
    return all(map(is_loopback, config.addresses().values()))


def cores() -> int:
    """Return on how many cores this process may run."""
    return len(os.sched_getaffinity(0))


def _votes(config: Config, name: str, plan: Plan, trainer: Trainer) -> Iterator[pb.Ballot]:
    """Let the device vote, step after step, at an edge that has no other."""
    device, algorithm = Device(name, DeviceSettings.of(config), plan, trainer), plan.algorithm
    lr = np.float32(config.algorithm.lr)
    base = Base(
        rate_bits(lr),
        model=to_bytes(trainer.model.weights),
        buffers=to_bytes(trainer.model.buffers()),
    )
    while True:
        device.move(1, base)
        edge = algorithm.edge_round(algorithm.edge_state(), [trainer.examples])
        request = pb.StepRequest(round=1, step=1, examples=trainer.examples, devices=1)
        for step in range(1, config.algorithm.edge_steps + 1):
            ballot = device.vote(request)
            assert isinstance(ballot, pb.Ballot), "it has missed nothing"
            yield ballot
            if ballot.abstains:
                break
            edge.add(0, ballot.ballot)
            decision = edge.decide(Step(config.seed, "edge", 1, step, lr))
            request = pb.StepRequest(round=1, step=step + 1, after=step - 1, decisions=[decision])


def _median(once: Callable[[], object], seconds: float) -> float:
    """Return the median duration of a call, called for so many seconds, and ten times at least."""
    once()  # the first call fills caches
    times: list[float] = []
    end = perf_counter() + seconds
    while len(times) < 10 or perf_counter() < end:
        start = perf_counter()
        once()
        times.append(perf_counter() - start)
    return float(np.median(times))


def lines(config: Config, name: str, pace: Pace) -> list[str]:
    """Return what was found, for a person."""
    rate, settings = 1 / pace.step_s, config.algorithm
    steps = settings.total_steps
    devices = sum(len(names) for names in config.tree().values())
    where = (
        f"all {plural(devices, 'device')} on {plural(cores(), 'core')} like these"
        if is_here_alone(config)
        else "all devices like this one"
    )
    return [
        f"{name}: {config.model_name} of {plural(pace.model, 'parameter')}, batch {pace.batch}, "
        f"{plural(threads(), 'torch thread')}, {platform.machine()}",
        f"gradient  {_times(pace.gradient_s)}",
        f"vote      {_times(pace.vote_s)}: {settings.name}, with its gradients and a decision",
        f"sends     {_bytes(pace.up, rate)}",
        f"is sent   {_bytes(pace.down, rate)}",
        f"pace      {rate:.1f} steps/s at best, {where} and no link in the way; "
        f"{plural(steps, 'step')} in {duration(steps * pace.step_s)}",
        f"memory    {size(pace.memory)} at its peak",
    ]


def _times(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms, {1 / seconds:.1f} a second"


def _bytes(step: float, rate: float) -> str:
    second = step * rate
    return f"{size(step)} a step; {size(second)}/s at that pace, {second * 8e-6:.2f} Mbit/s"


def run(config: Config, name: str) -> None:
    """Measure, and print what was found."""
    print("\n".join(lines(config, name, bench(config, name, SECONDS))))
