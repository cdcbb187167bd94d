"""The cloud's state at a round's start: what is packed is what comes back, all of it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np

from cloud.result import RoundResult
from cloud.state import CloudState
from hierfl.algorithms import BUILT_IN
from hierfl.algorithms.base import Settings
from hierfl.link.traffic import Faults, Traffic
from hierfl.protocol.checkpoint_files import Checkpoints
from tests.federation.toy import LAYOUT


def test_a_state_comes_back_from_its_checkpoint(tmp_path: Path) -> None:
    algorithm, draw = BUILT_IN["ef-lion"](LAYOUT, Settings()), np.random.default_rng(0)

    def vector(size: int = LAYOUT.d) -> np.ndarray:
        return draw.standard_normal(size).astype(np.float32)

    traffic, faults = Traffic.from_list([1, 2, 3, 4, 5, 6]), Faults(late=2)
    result = RoundResult(4, 0.1, 0.5, {"east": 3}, {"east": 1.0}, traffic, traffic)
    state = CloudState.first(algorithm, vector(), vector(3))
    for array in (state.residual, *state.algorithm.values()):
        array[:] = vector()
    state.change, state.edges, state.answer = b"change", b"edges", b"answer"
    state.last, state.round = result, 5
    checkpoints = Checkpoints(tmp_path, "cloud")
    checkpoints.write(state.pack("run", traffic, faults))
    kept = checkpoints.last()
    assert kept is not None and (kept.run, kept.round) == ("run", 5)
    again = CloudState.unpack(kept, algorithm)
    for spec in fields(CloudState):
        here, there = getattr(state, spec.name), getattr(again, spec.name)
        match spec.name:
            case "traffic":
                assert there == traffic
            case "faults":
                assert there == faults + Faults(restarts=1)
            case "algorithm":
                assert here.keys() == there.keys()
                assert all(here[name].tobytes() == there[name].tobytes() for name in here)
            case _ if isinstance(here, np.ndarray):
                assert here.tobytes() == there.tobytes() and there.flags.writeable
            case _:
                assert here == there
