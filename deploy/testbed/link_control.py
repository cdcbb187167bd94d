"""Cuts and restores links of a running testbed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from deploy.testbed.iproute import batch, require
from deploy.testbed.registry import Record, running
from hierfl.config.validators import no_such
from hierfl.errors import ConfigError


def turn(way: Literal["down", "up"], node: str, run: Path | None) -> None:
    """Cut or restore the link between a node and its parent; for the cloud, the links to all edges.

    The port at the switch is set down or up: nothing passes in either direction, and neither end is
    notified.

    Args:
        way: "down" cuts, "up" restores.
        node: the node's name.
        run: the run folder; None if only one testbed runs.

    Raises:
        ConfigError: if there is no such testbed, or no such node in it.
    """
    require()
    record = _chosen(run)
    if node not in record.cuts:
        raise no_such("node", node, list(record.cuts))
    batch("ip", [f"link set {record.cuts[node]} {way}"], record.switch)
    print(f"{node}: link {'cut' if way == 'down' else 'restored'}")


def _chosen(run: Path | None) -> Record:
    there = running()
    listed = "\n".join(f"--run {record.run}" for record in there)
    if run is not None:
        there = [record for record in there if record.run == str(run.resolve())]
    if len(there) == 1:
        return there[0]
    if run is not None:
        hint = (
            f"Running testbeds:\n{listed}"
            if listed
            else "Start one with `hierfl run --testbed netns`."
        )
        raise ConfigError("--run", f"no testbed is running in {run}", hint)
    if there:
        raise ConfigError("--run", "several testbeds are running; name one", listed)
    raise ConfigError(
        "", "no testbed is running on this machine", "Start one with `hierfl run --testbed netns`."
    )
