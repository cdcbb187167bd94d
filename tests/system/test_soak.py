"""The soak itself, for seconds; and that it would see what it looks for."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from benchmarks._soak_faults import KINDS, schedule
from benchmarks._soak_nodes import Life, Node, Sample
from benchmarks._soak_report import Findings, broken, table
from hierfl.config import load_config
from hierfl.link.traffic import Faults
from tests.system.harness import ENVIRONMENT

TOPOLOGY = """
model: mlp
algorithm: {edge_steps: 4}
edges:
- {name: a, devices: 2}
- {name: b, devices: 1}
"""
SEED = 1285
"""Its first storm stops, kills, restarts and disconnects, at all three tiers."""


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_short_soak_keeps_every_promise(tmp_path: Path) -> None:
    topology = tmp_path / "small.yaml"
    topology.write_text(TOPOLOGY)
    arguments = ["--seconds", "25", "--seed", str(SEED), "--dataset", "digits"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", *arguments, "--topology", str(topology)],
        capture_output=True, text=True, timeout=280, env=ENVIRONMENT | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(kind in done.stdout for kind in KINDS), done.stdout
    assert [entry.name for entry in tmp_path.iterdir()] == ["small.yaml"]


def test_a_schedule_is_its_seed() -> None:
    def first(seed: int) -> list[object]:
        return list(islice(schedule(seed, ["cloud", "a", "a-0"]), 50))

    assert first(1) == first(1) != first(2)


def life(memory: list[float], files: list[int]) -> Life:
    """One whose calms are a minute apart, the first of them at its start."""
    calms = zip(memory, files, strict=True)
    return Life({i: [Sample(60.0 * i, mb, n)] for i, (mb, n) in enumerate(calms)})


GOOD = Findings(
    config=load_config(None, ["data.dataset=digits"]),
    seconds=200.0,
    trouble=(),
    rounds=(1, 2, 3),
    kept=4,
    struck=Counter(kill=2),
    missed=1,
    deaf=(),
    survived=Faults(reconnects=3, restarts=2),
    lives={
        Node("edge", "east", 7): life([50.0, 100.0, 104.0], [9, 9, 9]),
        Node("device", "west-0", 8): life([50.0], [5]),
    },
    orphans=(),
    hashes=("abc", "abc"),
)
EAST = Node("edge", "east", 9)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"trouble": ["it stalled"]}, "it stalled"),
        ({"rounds": (1, 3)}, "lacks or repeats rounds: 1, 3"),
        ({"rounds": (1, 2, 2, 3)}, "lacks or repeats rounds: 2, 2"),
        ({"rounds": (2, 3)}, "lacks or repeats rounds: 0, 2"),
        ({"rounds": ()}, "metrics.jsonl has 0 rounds"),
        ({"kept": 6}, "metrics.jsonl has 3 rounds, the cloud has done 5"),
        ({"hashes": ("abc", "abd")}, "in the undisturbed run abd"),
        ({"survived": Faults(rejected=1)}, "1 times somebody was turned away"),
        ({"orphans": (EAST,)}, "east (process 9) outlived its launcher"),
        ({"deaf": ("east",)}, "east was asked to end and did not"),
        ({"lives": {EAST: life([50, 100, 106, 104], [9] * 4)}}, "grew: 100, 106, 104 MB"),
        ({"lives": {EAST: life([50, 100], [9, 10])}}, "had 9, 10 open files"),
    ],
)
def test_each_promise_that_is_broken_is_seen(bad: dict[str, Any], words: str) -> None:
    assert broken(GOOD) == []
    found = replace(GOOD, **bad)
    assert [sentence for sentence in broken(found) if words in sentence]
    assert table(found)


def test_the_table_says_what_was_measured() -> None:
    text = table(GOOD)
    assert "3 done, 0 lost; 45 steps" in text
    assert "2 survived: 2 kill; 1 found a node down" in text
    assert "2 restarts, 3 reconnects" in text
    assert "+4.0%" in text and "equal" in text
