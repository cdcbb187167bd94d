"""`hierfl compare`: every algorithm on every split of the data with every seed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from deploy.experiments.comparison import Comparison
from deploy.experiments.plot import draw
from deploy.experiments.tables import grid, percent, spread
from deploy.experiments.trials import counted, folder_name, make_trial
from deploy.experiments.variants import variant
from deploy.launcher.processes import Processes
from hierfl.config import Config, load_config
from hierfl.errors import ConfigError
from hierfl.learning.loaded import known as known_facts
from hierfl.learning.loaded import load_data
from hierfl.runs.strict_json import dumps
from hierfl.units import plural

SPLITS = ("iid", "dir", "inter")
AS_IT_IS = "topology"
"""The split that leaves the topology's own `data.partition`."""


def compare(comparison: Comparison, out: Path, jobs: int, processes: Processes) -> None:
    """Do the missing runs, write `table.md`, `table.json` and `accuracy.png`, and print the table.

    Args:
        comparison: the comparison.
        out: the folder of the table.
        jobs: the number of runs at a time.
        processes: starts the runs.

    Raises:
        HierflError: for any expected error.
    """
    named = {trial.folder: key for key, trial in comparison.trials.items()}
    for at, trial, left in counted(list(comparison.trials.values()), jobs, processes):
        algorithm, split, seed = named[trial.folder]
        accuracy = f"{trial.summary()['accuracy']:.2%}"
        print(f"{at}  {algorithm}, {split}, seed {seed}: {accuracy}{left}", flush=True)
    numbers = table(comparison)
    text = markdown(numbers)
    (out / "table.json").write_text(dumps(numbers, indent=2) + "\n", encoding="utf-8")
    (out / "table.md").write_text(text, encoding="utf-8")
    print(f"\n{text}")
    print(draw(comparison, out / "accuracy.png"))
    print(f"results: {out}")


def plan(
    topology: Path | None,
    sets: Sequence[str],
    algorithms: Sequence[str],
    splits: Sequence[str],
    seeds: Sequence[str],
    out: Path,
) -> Comparison:
    """Return the comparison of all combinations, each checked.

    Args:
        topology: the topology; None: the default one.
        sets: keys to set in it.
        algorithms: values of `algorithm.name`, or variants of one: see `variants.variant`.
        splits: some of `SPLITS`, or `AS_IT_IS`.
        seeds: values of `seed`.
        out: the folder of the runs.

    Raises:
        ConfigError: if a combination is not possible.
        DataError: if the data set is missing.
    """
    shared = partitions(load_config(topology, sets), splits)
    _refuse_to_lose(out / "table.json", algorithms, splits, seeds)
    trials = {
        (algorithm, split, seed): make_trial(
            topology,
            [
                *sets, *variant(algorithm).sets, f"seed={seed}",
                f"data.partition={json.dumps(shared[split])}",
            ],
            out / folder_name(algorithm, split, seed),
        )
        for algorithm, split, seed in product(algorithms, splits, seeds)
    }  # fmt: skip
    return Comparison(trials, shared)


def _refuse_to_lose(
    file: Path, algorithms: Sequence[str], splits: Sequence[str], seeds: Sequence[str]
) -> None:
    """See that the table of an earlier comparison does not lose a row, a column or a seed.

    Raises:
        ConfigError: it would.
    """
    try:
        earlier = json.loads(file.read_bytes())
        held = {
            "--algorithms": [str(name) for name in earlier["algorithms"]],
            "--splits": [str(name) for name in earlier["splits"]],
            "--seeds": [str(seed) for seed in earlier["seeds"]],
        }
    except (OSError, ValueError, KeyError, TypeError):
        return
    given = {"--algorithms": algorithms, "--splits": splits, "--seeds": seeds}
    for option, names in held.items():
        if missing := [name for name in names if name not in given[option]]:
            raise ConfigError(
                "--out",
                f"{file} is the table of other arguments: it has {option} {', '.join(missing)} too",
                "Give another folder, or these arguments as well: runs that are there are kept.",
            )


def partitions(config: Config, splits: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the key `data.partition` of each split for a topology.

    `inter` gives each edge its own classes if there are at least 2 for each edge, and otherwise 3
    classes, some of which edges share.
    """
    known_splits = (*SPLITS, AS_IT_IS)
    for split in splits:
        if split not in known_splits:
            raise ConfigError(
                "--splits",
                f"there is no split {split!r}",
                f"Known splits: {', '.join(known_splits)}.",
            )
    if set(splits) == {AS_IT_IS}:
        return {AS_IT_IS: config.data.partition.model_dump(mode="json", exclude_unset=True)}
    known = known_facts(load_data(config)).classes
    edges = len(config.data.homes or config.edges)
    enough = 2 * edges <= known
    every: dict[str, dict[str, Any]] = {
        "iid": {"kind": "iid"},
        "dir": {"kind": "dirichlet", "alpha": 0.3, "within": "edge"},
        "inter": {"kind": "disjoint"} if enough else {"kind": "shards", "classes": min(known, 3)},
        AS_IT_IS: config.data.partition.model_dump(mode="json", exclude_unset=True),
    }
    return {split: every[split] for split in splits}


def table(comparison: Comparison) -> dict[str, Any]:
    """Return the figures of a comparison that is done.

    Accuracies are final accuracies from 0 to 1. `std` is the sample standard deviation over seeds,
    or null for one seed. For `bits_up` and `bytes` see the functions `bits_up` and
    `bytes_of_a_device`.
    """
    config = comparison.config
    first = next(iter(comparison.trials.values())).summary()
    return {
        "name": config.name,
        "dataset": str(config.data.dataset),
        "validation": config.data.validation,
        **{key: first[key] for key in ("model", "parameters", "edges", "devices")},
        "seeds": [int(seed) for seed in comparison.asked(2)],
        "splits": dict(comparison.partitions),
        "algorithms": {name: _row(comparison, name) for name in comparison.asked(0)},
    }


def _row(comparison: Comparison, algorithm: str) -> dict[str, Any]:
    cells = {split: comparison.of(algorithm, split) for split in comparison.asked(1)}
    trials = [trial for cell in cells.values() for trial in cell]
    settings = trials[0].config.algorithm
    return {
        "lr": settings.lr,
        "rounds": settings.rounds,
        "edge_steps": settings.edge_steps,
        "bits_up": fmean(bits_up(trial.summary()) for trial in trials),
        "bytes": fmean(bytes_of_a_device(trial.summary()) for trial in trials),
        "accuracy": {split: spread(cell) for split, cell in cells.items()},
    }


def bits_up(summary: Mapping[str, Any]) -> float:
    """Return the payload bits that a device has sent to its edge, per coordinate and step.

    All payload bits that were counted on the links, divided by devices * steps * d.
    """
    sent = 8 * summary["bytes"]["device_up"]
    return float(sent / (summary["devices"] * summary["steps"] * summary["parameters"]))


def bytes_of_a_device(summary: Mapping[str, Any]) -> float:
    """Return the payload bytes that a device has sent and was sent, on average."""
    sent = summary["bytes"]
    return float((sent["device_up"] + sent["device_down"]) / summary["devices"])


def markdown(numbers: Mapping[str, Any]) -> str:
    """Return the table in Markdown."""
    seeds, judge = numbers["seeds"], "validation" if numbers["validation"] else "test"
    over = f"seed {seeds[0]}"
    if len(seeds) > 1:
        over = f"mean ± standard deviation over seeds {', '.join(map(str, seeds))}"
    splits = "; ".join(f"{name}: {_words(how)}" for name, how in numbers["splits"].items())
    header = ["algorithm", "lr", "rounds", *numbers["splits"], "bits up", "MB"]
    rows = [
        [
            f"`{name}`",
            f"{row['lr']:g}",
            f"{row['rounds']} of {row['edge_steps']}",
            *(percent(cell) for cell in row["accuracy"].values()),
            f"{row['bits_up']:.3g}",
            f"{row['bytes'] / 1e6:.3g}",
        ]
        for name, row in numbers["algorithms"].items()
    ]
    return "\n".join(
        [
            f"{numbers['model']} (d = {numbers['parameters']:,}) on {numbers['dataset']}; "
            f"{plural(numbers['edges'], 'edge')}, {plural(numbers['devices'], 'device')}.",
            f"Final accuracy in % on the {judge} set, {over}.",
            f"Splits: {splits}.",
            "Rounds: how many, of how many steps each.",
            "Bits up: payload from a device to its edge, per coordinate and step.",
            "MB: payload of a device in the whole run, up and down.",
            "",
            grid(header, rows),
            "",
        ]
    )


def _words(partition: Mapping[str, Any]) -> str:
    kind, *rest = partition.items()
    return " ".join([str(kind[1]), *(f"({key} {value})" for key, value in rest)])
