"""What the live page shows, from the events that a view is handed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from cloud.metrics import Worst
from cloud.views.base import (
    EdgePresence,
    EdgeProgress,
    Listening,
    RoundEvaluated,
    TrainingStarted,
    Waiting,
)
from cloud.views.page.state import MOST_CHANGES, MOST_EVENTS, MOST_ROUNDS, PageState
from hierfl.protocol.progress import DeviceStates
from tests.unit.cloud.views.events import CONFIG, FORECAST, evaluated, finished, here, step


def states(state: PageState) -> dict[str, str]:
    edges = state.now()["edges"]
    return {
        one["name"]: one["state"] for edge in edges for one in (edge, *edge["devices"])
    }  # fmt: skip


def training() -> PageState:
    state = PageState(CONFIG)
    for event in (
        Listening("127.0.0.1:1"), EdgePresence("east", True), EdgePresence("west", True),
        here("east"), here("west"), TrainingStarted(FORECAST), step("east", 1, 1),
        step("west", 1, 1),
    ):  # fmt: skip
        state.handle(event, 100.0)
    return state


def texts(state: PageState) -> list[tuple[str, str]]:
    return [(event["node"], event["text"]) for event in state.whole()["events"]]


def test_nodes_are_waited_for_then_wait_then_vote() -> None:
    state = PageState(CONFIG)
    assert set(states(state).values()) == {"waited for", "unknown"}
    state.handle(Listening("127.0.0.1:1"), 1.0)
    state.handle(EdgePresence("east", True), 2.0)
    state.handle(here("east", "east-1"), 3.0)
    assert states(state) == {
        "east": "waiting", "east-0": "waiting", "east-1": "waited for", "east-2": "waiting",
        "west": "waited for", "west-0": "unknown", "west-1": "unknown", "west-2": "unknown",
    }  # fmt: skip
    assert set(states(training()).values()) == {"voting"}


def test_who_goes_is_away_since_then_and_is_back() -> None:
    state = training()
    state.handle(here("west", "west-1"), 200.0)
    assert states(state)["west-1"] == "away"
    west = state.now()["edges"][1]
    assert {one["name"]: one["since"] for one in west["devices"]}["west-1"] == 200.0
    state.handle(here("west"), 201.0)
    state.handle(EdgePresence("east", False), 202.0)
    assert states(state)["west-1"] == "voting"
    assert states(state)["east"] == "away" and states(state)["east-0"] == "unknown"
    state.handle(EdgePresence("east", True), 203.0)
    assert texts(state)[-4:] == [
        ("west-1", "is away"), ("west-1", "is back"), ("east", "is away"), ("east", "is back"),
    ]  # fmt: skip


def test_a_device_in_trouble_is_shown_with_its_state_and_the_reason() -> None:
    state = training()
    late = DeviceStates((("west-1", "late", 150.0, "3 steps"), ("stranger", "late", 1.0, "")))
    for _ in range(2):
        state.handle(EdgeProgress("west", late), 151.0)
    assert states(state)["west-1"] == "late" and states(state)["west-0"] == "voting"
    assert texts(state).count(("west-1", "late: 3 steps")) == 1
    assert "stranger" not in states(state)
    state.handle(EdgeProgress("west", DeviceStates(())), 152.0)
    assert states(state)["west-1"] == "voting"


def test_the_figures_are_those_of_the_rounds() -> None:
    state = training()
    state.handle(evaluated(1, 0.5), 101.0)
    state.handle(evaluated(2, 0.75), 102.0)
    rows = state.whole()["history"]
    assert [(row["round"], row["accuracy"]) for row in rows] == [(1, 0.5), (2, 0.75)]
    now = state.now()
    assert rows[-1]["payload"] == sum(now["bytes"].values())
    assert now["float32"] == FORECAST.float32_of(now["bytes"])
    json.dumps(state.whole(), allow_nan=False)


def test_the_worst_device_s_figure_is_beside_all_devices() -> None:
    state = training()
    judged = replace(evaluated(1, 0.5).metrics, worst=Worst("accuracy", 0.25, "west"))
    state.handle(RoundEvaluated(judged), 101.0)
    unknown = replace(evaluated(2, 0.5).metrics, worst=Worst("accuracy", None, "west"))
    state.handle(RoundEvaluated(unknown), 102.0)
    first, second = state.whole()["history"]
    assert first["worst accuracy"] == 0.25 and "worst accuracy" not in second


def test_the_end_is_told_and_whoever_is_no_longer_there_is_not_away() -> None:
    state = training()
    position = state.end
    state.handle(finished(), 110.0)
    state.handle(EdgePresence("east", False), 111.0)
    state.close(112.0)
    changes = state.since(position)
    assert changes is not None
    assert [kind for kind, _ in changes] == ["event", "done", "event", "bye"]
    assert state.whole()["summary"]["model_sha256"] == "ab" * 32
    assert set(states(state).values()) == {"done"}
    assert not any(event["bad"] for event in state.whole()["events"])


def test_a_run_that_ends_early_says_so() -> None:
    state = training()
    state.close(112.0)
    assert texts(state)[-1] == ("cloud", "the run has stopped before its end")
    assert state.now()["phase"] == "stopped"


def test_rounds_that_a_cloud_does_again_replace_the_first_ones() -> None:
    earlier: list[dict[str, Any]] = [evaluated(round_).metrics.to_json() for round_ in (1, 2, 3)]
    state = PageState(CONFIG, earlier)
    assert state.now()["round"] == 3
    state.handle(evaluated(3, 0.99), 1.0)
    rows = state.whole()["history"]
    assert [row["round"] for row in rows] == [1, 2, 3]
    assert rows[-1]["accuracy"] == 0.99


def test_what_is_kept_has_a_limit_and_a_reader_that_is_too_slow_is_told() -> None:
    state = training()
    for number in range(MOST_CHANGES + 1):
        state.handle(Waiting(f"line {number}"), 1.0)
    assert len(state.whole()["events"]) == MOST_EVENTS
    assert state.since(0) is None
    assert state.since(state.end) == []
    recent = state.since(state.end - 2)
    assert recent is not None
    assert [data["text"] for _, data in recent] == ["line 999", "line 1000"]
    for round_ in range(1, 2 * MOST_ROUNDS):
        state.handle(evaluated(round_), 1.0)
    rows = state.whole()["history"]
    assert len(rows) <= MOST_ROUNDS and rows[-1]["round"] == 2 * MOST_ROUNDS - 1
