"""What must hold before a run is gone on with: the same configuration, and nothing lost."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from hierfl.config import CLOUD, Config
from hierfl.config.digest import agreed
from hierfl.errors import ConfigError, HierflError
from hierfl.protocol.checkpoint_store import CheckpointStore
from hierfl.runs.recovery import behind

METRICS = "metrics.jsonl"
LOST_METRICS = "metrics.lost.jsonl"
"""What metrics.jsonl is called once its run is lost: the next begins at the first round."""

ACCEPT = "--accept-loss"


def check(config: Config, folder: Path, nodes: Collection[str], accept_loss: bool) -> list[str]:
    """See that a run can go on as if nothing had happened.

    Where the cloud's state is lost and that is accepted, what is left of it is set aside, and the
    run begins anew, in the same bits.

    Args:
        config: the configuration, resolved.
        folder: the run folder.
        nodes: those whose state is in it.
        accept_loss: whether to go on where something is lost.

    Returns:
        What a person should know, a line each.

    Raises:
        ConfigError: the configuration is another one, or something is lost.
        HierflError: what is lost cannot be set aside.
    """
    store = CheckpointStore(folder / "checkpoints", CLOUD)
    run = store.current()
    if run is None:
        return _begin_anew(store, folder, accept_loss)
    files = store.run(run)
    kept = files.read(max(files.whole()))
    assert kept is not None, "it was whole a moment ago"
    if changed := differences(kept.config, agreed(config)):
        raise ConfigError(
            "--out",
            f"{folder} holds a run of another configuration:\n  " + "\n  ".join(changed),
            "Put these keys back to go on with it, or start a new run in another folder.",
        )
    told = _of_metrics(folder / METRICS, kept.round - 1)
    is_over = kept.round > config.algorithm.rounds
    if not is_over and (lost := _lost(config, folder, run, kept.round, nodes)):
        said = f"the state of {', '.join(lost)} for round {kept.round} is lost or damaged"
        if not accept_loss:
            raise _refused(folder, said, "These nodes then start from the global model alone: the "
                           "run ends in another model than it would have.")  # fmt: skip
        told.append(f"{said}; going on without it")
    return told


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a line for each key whose value is another, in the order of the keys.

    >>> differences({"seed": 1, "algorithm.lr": 0.1}, {"seed": 1, "algorithm.lr": 0.2})
    ['algorithm.lr is 0.2, was 0.1']
    """
    keys = sorted(before.keys() | now.keys())
    changed = [key for key in keys if _shown(before, key) != _shown(now, key)]
    return [f"{key} is {_shown(now, key)}, was {_shown(before, key)}" for key in changed]


def _shown(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key]) if key in values else "absent"


def _lost(
    config: Config, folder: Path, run: str, cloud: int, nodes: Collection[str]
) -> Sequence[str]:
    """Return the nodes whose state is lost."""
    names = [name for name in config.roles() if name in nodes and name != CLOUD]
    states = {name: CheckpointStore(folder / "checkpoints", name).run(run) for name in names}
    rounds = {name: frozenset(state.whole()) for name, state in states.items()}
    if not names:
        return []
    if config.quorum.devices == config.quorum.edges == 1.0:
        return behind(config.tree(), cloud, rounds)
    # Nobody waits for all of them: one that is far behind has perhaps been away.
    return [name for name, state in states.items() if state.rounds() and not rounds[name]]


def _begin_anew(store: CheckpointStore, folder: Path, accept_loss: bool) -> list[str]:
    """Let a run begin at its first round, unless one that is lost had begun."""
    metrics = folder / METRICS
    done = _rounds(metrics)
    if not (damaged := store.runs()) and not done:
        return []
    said = f"all checkpoints of the cloud are {'damaged' if damaged else 'gone'}"
    if not accept_loss:
        raise _refused(folder, said, "The run then begins again at round 1.")
    try:
        for run in damaged:
            store.run(run).set_aside()
        metrics.touch()
        metrics.rename(folder / LOST_METRICS)
    except OSError as error:
        raise HierflError(f"cannot rename {metrics}: {error.strerror}") from None
    return [f"{said}; beginning again at round 1"]


def _of_metrics(metrics: Path, done: int) -> list[str]:
    """Return what to tell of metrics.jsonl, where so many rounds are done."""
    # The last round's line may be missing by right: its evaluation was under way.
    missing = sorted(set(range(1, done)) - _rounds(metrics))
    if not missing:
        return []
    named = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
    what = "1 round is" if len(missing) == 1 else f"{len(missing)} rounds are"
    return [f"{metrics} is damaged: the lines of {what} lost ({named})"]


def _rounds(metrics: Path) -> set[int]:
    """Return the rounds that have a line."""
    found = set()
    try:
        text = metrics.read_bytes()
    except OSError:
        return set()
    for line in text.splitlines():
        try:
            found.add(json.loads(line)["round"])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return {round_ for round_ in found if type(round_) is int}


def _refused(folder: Path, said: str, then: str) -> ConfigError:
    return ConfigError(
        "--out",
        f"{folder}: {said}",
        f"Restore {folder / 'checkpoints'} from a copy, or give {ACCEPT} to go on all the same.\n"
        f"{then}",
    )
