"""Whoever is killed, at whatever moment: what comes out is what would have come out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.harness import (
    ENVIRONMENT,
    LIMIT_S,
    hierfl,
    kill_all,
    line_with,
    metrics,
    nodes,
    started,
    summary,
)

pytestmark = pytest.mark.system

SETS = [
    "data.dataset=tests.system.tiny:load", "model=mlp",
    "algorithm.edge_steps=4", "algorithm.rounds=4", "restart=always",
    "edges.0.devices=2", "edges.1.devices=1",
]  # fmt: skip
ARGUMENTS = [part for text in SETS for part in ("--set", text)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of the run in which nothing happens."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    done = hierfl("run", *ARGUMENTS, "--set", "runtime=memory", "--out", str(out))
    assert done.returncode == 0, done.stderr
    return str(summary(out)["model_sha256"])


# Where each moment is seen: a node, and the Nth call of a function in it, counted from the start of
# its process. East has 2 devices; a round has 4 steps.
MOMENTS = {
    "within a step": ("east", "edge.voting:Voting._take@11:after"),
    "between majority and tally": ("east", "hierfl.numerics.tally:Tally.add@7:before"),
    "while the cloud writes": ("cloud", "pathlib:Path.rename@3:before"),
    "between rounds": ("cloud", "cloud.strategy:HierStrategy.aggregate_train@2:after"),
}
VICTIMS = {"device": "east-1", "edge": "east", "cloud": "cloud"}

# Moments in the life of the node itself.
OWN = {
    ("device", "before hello"): ("east-1", "hierfl.link.frames:hello@1:before"),
    ("edge", "before hello"): ("east", "hierfl.link.frames:hello@1:before"),
    ("cloud", "before hello"): ("cloud", "hierfl.link.link_grid:LinkGrid.open@1:after"),
    ("device", "with its vote unsent"): ("west-0", "clients.device:Device._ballot@7:after"),
    ("device", "while it writes"): ("east-0", "pathlib:Path.rename@3:before"),
    ("device", "at the new base"): ("west-0", "clients.device:Device.move@3:after"),
    ("edge", "after its last decision"): ("west", "edge.voting:Voting.report@2:after"),
    ("edge", "while it writes"): ("west", "pathlib:Path.rename@3:before"),
    ("edge", "before its devices are at the base"): (
        "east",
        "hierfl.protocol.base_sync:BaseSync.run@3:before",
    ),
    ("cloud", "before its edges are at the base"): (
        "cloud",
        "hierfl.protocol.base_sync:BaseSync.run@3:before",
    ),
    ("cloud", "at the end"): ("cloud", "cloud.strategy:HierStrategy.finish@1:before"),
}

TABLE = {
    (kind, moment): (*where, victim)
    for kind, victim in VICTIMS.items()
    for moment, where in MOMENTS.items()
} | {case: (*where, where[0]) for case, where in OWN.items()}


OFTEN = {
    (kind, moment)
    for i, kind in enumerate(VICTIMS)
    for j, moment in enumerate(MOMENTS)
    if (i + j) % 2 == 0
}
"""Every kind of node and every moment is in it; the rest of the table is for `make test-slow`."""

CASES = [
    pytest.param(
        case,
        id="-".join(case).replace(" ", "_"),
        marks=[] if case in OFTEN or case[1] == "before hello" else [pytest.mark.slow],
    )
    for case in TABLE
]


@pytest.mark.parametrize("case", CASES)
def test_a_kill_at_any_moment_changes_no_bit(
    case: tuple[str, str], undisturbed: str, tmp_path: Path
) -> None:
    script = Path(__file__).with_name("sabotaged_run.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), *TABLE[case], *SETS],
        capture_output=True, text=True, timeout=LIMIT_S, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sabotaged").exists(), "the moment never came"
    assert summary(tmp_path)["model_sha256"] == undisturbed
    assert [line["round"] for line in metrics(tmp_path)] == [1, 2, 3, 4]
    if case[1] != "before hello":
        assert summary(tmp_path)["faults"]["restarts"] == 1
    assert not nodes(tmp_path)


def test_a_whole_tree_that_was_killed_goes_on(undisturbed: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with started("run", *ARGUMENTS, "--out", str(out)) as run:
        line_with(run, "round 2/")
        kill_all(run, out)
    assert not (out / "summary.json").exists()
    refused = hierfl("run", *ARGUMENTS, "--out", str(out))
    assert refused.returncode == 2 and "earlier run" in refused.stderr
    done = hierfl("run", "--resume", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert summary(out)["model_sha256"] == undisturbed
    assert [line["round"] for line in metrics(out)] == [1, 2, 3, 4]
