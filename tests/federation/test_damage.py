"""A crash that also damages the newest checkpoint: the one before it is enough, bit for bit.

But for one moment: a device that dies between the end of a round and its next checkpoint is a round
behind its edge, and two with its newest checkpoint gone. Logs do not reach that far back: it takes
the whole model and goes on with the momentum that it has.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from hierfl.protocol.checkpoint_files import Checkpoints
from tests.federation.test_recovery import TREE, run

AT_BASE_3 = 9
"""The number of a device's message that brings it to the last base from which it votes."""


class Damage:
    """Cuts a node's newest checkpoint short when it is built for the second time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.victim = ""
        self.done = 0
        self._built: set[str] = set()
        original = Checkpoints.restore_last

        def restore_last(checkpoints: Checkpoints, restore):  # type: ignore[no-untyped-def]
            name = checkpoints._name
            if name == self.victim and name in self._built and len(checkpoints.rounds()) == 2:
                newest = checkpoints._path(checkpoints.rounds()[-1])
                newest.write_bytes(newest.read_bytes()[:-1])
                self.done += 1
            self._built.add(name)
            return original(checkpoints, restore)

        monkeypatch.setattr(Checkpoints, "restore_last", restore_last)

    def run(
        self, victim: str, crashes: dict[str, dict[int, str]], machine: bool, sets: list[str]
    ) -> str:
        """Run a federation with these crashes; return the last base's hash."""
        self.victim, self._built = victim, set()
        with TemporaryDirectory() as folder:
            return run(crashes, machine, sets, Path(folder))[0]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("victim", "crash", "machine", "algorithm"),
    [
        ("east-0", "east-0", False, "hier-signsgd"), ("west-0", "west-0", False, "hier-signsgd"),
        ("east", "east", False, "hier-signsgd"), ("west", "west", False, "hier-signsgd"),
        ("east-0", "east-0", True, "hier-signsgd"), ("east", "east-0", True, "hier-signsgd"),
        ("west", "west-0", True, "hier-signsgd"), ("west", "west-0", True, "dc-hier-signsgd"),
    ],
)  # fmt: skip
def test_the_checkpoint_before_is_enough(
    victim: str,
    crash: str,
    machine: bool,
    algorithm: str,
    when: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    damage = Damage(monkeypatch)
    sets = [f"algorithm.name={algorithm}"]
    expected = damage.run("", {}, False, sets)
    for message in range(1, 18):
        base = damage.run(victim, {crash: {message: when}}, machine, sets)
        too_far = message == AT_BASE_3 and when == "before" and victim not in TREE
        assert (base == expected) != too_far, message
    assert damage.done >= 3
