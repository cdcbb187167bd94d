"""What a cloud has before its edges are there."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hierfl.config import CLOUD, Config
from hierfl.config.digest import agreed
from hierfl.learning.flat_model import FlatModel
from hierfl.learning.loaded import load_data
from hierfl.learning.samples import Samples
from hierfl.learning.setup import first_model, judging
from hierfl.learning.task import Task
from hierfl.link.traffic import NO_FAULTS, Faults
from hierfl.planning.plan import Plan, make_plan
from hierfl.protocol.checkpoint_files import Checkpoints
from hierfl.protocol.checkpoint_store import CheckpointStore
from hierfl.protocol.enrolment import KeptFacts
from hierfl.protocol.facts import Facts
from hierfl.runs.resume import LOST_METRICS

Enrol = Callable[[Facts | None], Facts]
"""Is given what the cloud itself holds, and returns what all nodes hold together."""


@dataclass(frozen=True)
class Held:
    """What a cloud has before its edges are there.

    Attributes:
        task: what is learnt.
        model: holds the first base.
        plan: what the configuration means for the model.
        test: what models are judged by; None: there is nothing.
        checkpoints: of this run folder.
        run: the run's identifier; that of the checkpoints, where there are some.
        faults: of before the run's beginning.
    """

    task: Task
    model: FlatModel
    plan: Plan
    test: Samples | None
    checkpoints: Checkpoints
    run: str
    faults: Faults = NO_FAULTS

    @classmethod
    def of(cls, config: Config, out: Path, enrol: Enrol | None = None) -> Held:
        """Return it for a run folder.

        Args:
            config: the configuration.
            out: the folder.
            enrol: where each device has data of its own; not called for a run that goes on.
        """
        data = load_data(config)
        folder, keys = out / "checkpoints", agreed(config)
        store = CheckpointStore(folder, CLOUD, keys)
        kept = KeptFacts(CheckpointStore(folder, f"{CLOUD}.enrolment", keys))
        run = store.current() or kept.current() or uuid.uuid4().hex
        faults = Faults(lost=int((out / LOST_METRICS).exists()))
        facts, enrolled = None, None
        if enrol is not None:
            enrolled = kept.read(run)
            facts = enrolled or enrol(data.facts)
        model = first_model(config, data, facts)
        plan = make_plan(config, model.layout, model.buffer_layout.d)
        test = judging(config, data, facts)
        if facts is not None and enrolled is None:  # a model could be made of them
            kept.keep(run, facts)
        return cls(data.task, model, plan, test, store.enter(run), run, faults)
