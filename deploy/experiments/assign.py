"""`hierfl assign`: moves a topology's devices to other edges."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import yaml

from deploy.experiments.assignment import Counts, Devices, Places, divergence, match, outvoted
from hierfl.config import Config, load_config
from hierfl.errors import ConfigError
from hierfl.learning.loaded import load_data, share_out
from hierfl.learning.survey import labels_of
from hierfl.units import plural


def assign(topology: Path, sets: Sequence[str], out: Path | None) -> None:
    """Move devices, write the new topology, and print a report.

    Args:
        topology: the topology.
        sets: keys to set in it.
        out: the new file; None: standard output, with the report on standard error.

    Raises:
        HierflError: for any expected error.
    """
    if out is not None and out.exists():
        raise ConfigError("--out", f"{out} exists already", "Give another file.")
    config = load_config(topology, sets)
    devices, before = survey(config)
    after = match(devices, before)
    for line in report(config, devices, before, after):
        print(line, file=sys.stderr if out is None else sys.stdout)
    text = moved(config, after)
    if out is None:
        print(text, end="")
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError("--out", f"cannot write {out}: {error.strerror}") from None
    print(f"written to {out}")


def survey(config: Config) -> tuple[Devices, Places]:
    """Return what is known of a configuration's devices, in its order, and their edges.

    Raises:
        HierflError: if the data set is missing or cannot be partitioned.
    """
    data = load_data(config)
    labels = labels_of(data.held())
    known, labels = np.unique(labels, return_inverse=True)
    shares = share_out(config, data)
    edges = [edge.name for edge in config.edges]
    places = {name: i for i, edge in enumerate(config.edges) for name in edge.devices}
    devices = Devices(
        histograms=np.stack([np.bincount(labels[shares[d]], minlength=known.size) for d in places]),
        reach=np.array([[edge in config.reach.get(d, edges) for edge in edges] for d in places]),
        capacity=np.array([edge.capacity or len(edge.devices) for edge in config.edges]),
    )
    return devices, np.array(list(places.values()))


def moved(config: Config, places: Places) -> str:
    """Return the YAML of a configuration with devices moved; each keeps its data."""
    names = [name for edge in config.edges for name in edge.devices]
    edges = tuple(
        edge.model_copy(update={"devices": tuple(names[k] for k in np.flatnonzero(places == i))})
        for i, edge in enumerate(config.edges)
    )
    homes = config.data.homes or config.tree()
    data = config.data.model_copy(update={"homes": homes})
    tree = config.model_copy(update={"data": data, "edges": edges})
    return yaml.safe_dump(
        tree.model_dump(mode="json", exclude_unset=True),
        sort_keys=False, default_flow_style=None, width=100,
    )  # fmt: skip


def report(config: Config, devices: Devices, before: Places, after: Places) -> Iterator[str]:
    """Yield the lines of the report."""
    held = [devices.held(places) for places in (before, after)]
    each = [divergence(counts) for counts in held]
    width = max(len("all"), *(len(edge.name) for edge in config.edges))
    yield f"{'edge':<{width}}  devices  divergence from all data, in nats"
    for i, edge in enumerate(config.edges):
        here = f"{int((after == i).sum()):>7}"
        yield f"{edge.name:<{width}}  {here}  {each[0][i]:.4f} -> {each[1][i]:.4f}"
    means = [_mean(counts) for counts in held]
    yield f"{'all':<{width}}  {after.size:>7}  {means[0]:.4f} -> {means[1]:.4f} (weighted mean)"
    lost = [outvoted(devices, places) for places in (before, after)]
    yield f"samples of a class that most devices of their edge lack: {lost[0]:.0%} -> {lost[1]:.0%}"
    if lost[1] > lost[0]:
        yield "  (one-bit votes may learn such classes worse; compare runs of both topologies)"
    yield f"{plural(int((before != after).sum()), 'device')} moved"


def _mean(held: Counts) -> float:
    return float(np.average(divergence(held), weights=held.sum(axis=1)))
