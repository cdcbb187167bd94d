"""The plan: made where the model is known, once, and handed on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from cloud.views.base import View
from deploy.launcher.in_process import run_memory
from hierfl.algorithms import BUILT_IN
from hierfl.algorithms.hier_signsgd import HierSignSGD
from hierfl.algorithms.opening import opening_of
from hierfl.config import load_config
from hierfl.config.digest import digest
from hierfl.link.frames import frame_limit
from hierfl.numerics.layout import Layout
from hierfl.planning.plan import Plan, make_plan, resolve

LAYOUT = Layout(("matrix", "bias"), ((50, 70), (6,)))


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_plan_says_what_its_algorithm_and_codec_say(name: str) -> None:
    config = resolve(load_config(None, [f"algorithm.name={name}", "algorithm.edge_steps=7"]))
    plan = make_plan(config, LAYOUT, 5)
    assert type(plan.algorithm) is BUILT_IN[name] and plan.algorithm.settings.steps == 7
    assert plan.downlink.name == config.downlink.codec
    sizes, said = plan.sizes, plan.algorithm.sizes()
    assert (sizes.ballot, sizes.decision) == (said.ballot, said.decision)
    assert (sizes.report, sizes.whole) == (said.report + 20, 4 * LAYOUT.d + 20)
    assert (sizes.downlink, sizes.buffers) == (plan.downlink.sizes().most + 20, 20)
    assert sizes.opening == opening_of(plan.algorithm).opening_sizes()
    missed = 7 * max(said.decision, LAYOUT.d // 4 + 1) + sum(sizes.opening)
    longest = max(sizes.whole, sizes.report, sizes.downlink, missed)
    assert plan.frame_limit == frame_limit(longest)
    assert plan.digest == digest(config)
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.frame_limit = 0  # type: ignore[misc]


def test_a_run_in_memory_makes_one_plan_and_an_edge_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = resolve(
        load_config(
            None,
            ["runtime=memory", "data.dataset=digits", "model=mlp", "algorithm.rounds=1",
             "algorithm.edge_steps=2"],
        )
    )  # fmt: skip
    made: list[Plan] = []

    def counted(self: HierSignSGD, *arguments: Any) -> None:
        made.append(self)  # type: ignore[arg-type]
        original(self, *arguments)

    original = HierSignSGD.__init__
    monkeypatch.setattr(HierSignSGD, "__init__", counted)
    run_memory(config, tmp_path, View())
    assert len(made) == 1 + 2  # of six devices, two edges and the cloud
