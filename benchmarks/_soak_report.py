"""What a soak came to: the promises that were broken, and a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks._soak_nodes import Life, Node
from hierfl.config import Config
from hierfl.link.traffic import Faults

ROLES = ("cloud", "edge", "device")
MOST_GROWTH = 0.05


@dataclass(frozen=True)
class Findings:
    """What is known of a run that is over.

    Attributes:
        config: the federation.
        seconds: how long it ran.
        trouble: why it ended too early, or what was seen in a calm and should not have been.
        rounds: the rounds in metrics.jsonl, line by line.
        kept: the round of the cloud's last checkpoint.
        struck: faults that found somebody, by kind.
        missed: faults that found a node that was down.
        deaf: nodes that were asked to end, and did not.
        survived: faults as the tree has counted them.
        lives: what each process had.
        orphans: the processes that outlived their launcher.
        hashes: of the cloud's last base, and of the same base in the undisturbed run.
    """

    config: Config
    seconds: float
    trouble: Sequence[str]
    rounds: Sequence[int]
    kept: int
    struck: Counter[str]
    missed: int
    deaf: Sequence[str]
    survived: Faults
    lives: Mapping[Node, Life]
    orphans: Sequence[Node]
    hashes: tuple[str, str]


def broken(found: Findings) -> list[str]:
    """Return the promises that are broken, a sentence each."""
    return [*found.trouble, *_run(found), *_processes(found)]


def _run(found: Findings) -> Iterator[str]:
    rounds = list(found.rounds)
    if rounds != list(range(1, len(rounds) + 1)):
        yield f"metrics.jsonl lacks or repeats rounds: {_gaps(rounds)}"
    if not rounds or abs(len(rounds) - (found.kept - 1)) > 1:
        yield f"metrics.jsonl has {len(rounds)} rounds, the cloud has done {found.kept - 1}"
    if len(set(found.hashes)) > 1:
        yield f"the model is {found.hashes[0]}, in the undisturbed run {found.hashes[1]}"
    if found.survived.rejected:
        yield f"{found.survived.rejected} times somebody was turned away"


def _gaps(rounds: Sequence[int]) -> str:
    odd = [f"{a}, {b}" for a, b in zip([0, *rounds], rounds, strict=False) if b != a + 1]
    return "; ".join(odd[:5])


def _processes(found: Findings) -> Iterator[str]:
    for node in found.orphans:
        yield f"{node.name} (process {node.pid}) outlived its launcher"
    for name in found.deaf:
        yield f"{name} was asked to end and did not"
    for node, life in found.lives.items():
        memory, files = life.memory(), life.files()
        if memory and max(memory) > (1 + MOST_GROWTH) * memory[0]:
            yield f"{node.name} (process {node.pid}) grew: {_series(memory)} MB"
        if len(set(files)) > 1:
            yield f"{node.name} (process {node.pid}) had {_series(files)} open files"


def _series(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.0f}" for value in values)


def table(found: Findings) -> str:
    """Return the findings as a table."""
    tree = found.config.tree()
    devices = sum(map(len, tree.values()))
    steps = len(found.rounds) * found.config.algorithm.edge_steps
    struck = ", ".join(f"{number} {kind}" for kind, number in sorted(found.struck.items()))
    same = "equal" if len(set(found.hashes)) == 1 else "DIFFERENT"
    lost = len(set(range(1, found.kept)) - set(found.rounds) - {found.kept - 1})
    rows = [
        ("ran", f"{found.seconds:.0f} s: {found.config.model} on {found.config.data.dataset}, "
                f"{len(tree)} edges, {devices} devices"),
        ("rounds", f"{len(found.rounds)} done, {lost} lost; {steps} steps"),
        ("faults", f"{found.struck.total()} survived: {struck}; {found.missed} found a node down"),
        ("counted", f"{found.survived.restarts} restarts, {found.survived.reconnects} reconnects, "
                    f"{found.survived.late} late replies"),
        ("orphans", str(len(found.orphans))),
        ("model", f"{found.hashes[0][:16]} after round {found.kept - 1}, "
                  f"undisturbed {found.hashes[1][:16]}: {same}"),
    ]  # fmt: skip
    lines = [f"{name:<9}{text}" for name, text in rows]
    return "\n".join([*lines, "", *_lives(found)])


def _lives(found: Findings) -> Iterator[str]:
    yield "          lives  compared    memory   growth   open files  growth"
    yield "                 after 60 s  MB, most   worst        most   worst"
    for role in ROLES:
        lives = [life for node, life in found.lives.items() if node.role == role]
        series = [memory for life in lives if len(memory := life.memory()) > 1]
        growth = max((max(memory) / memory[0] - 1 for memory in series), default=None)
        peaks = [what.memory for life in lives for seen in life.calms.values() for what in seen]
        files = [counts for life in lives if (counts := life.files())]
        worst = max((max(counts) - min(counts) for counts in files), default=0)
        yield (
            f"{role:<9}{len(lives):>6}  {len(series):>10}  {max(peaks, default=0):>8.0f}  "
            f"{'-' if growth is None else f'{growth:+.1%}':>6}  "
            f"{max(map(max, files), default=0):>10}  {worst:>6}"
        )
