"""The cost model of `hierfl plan` beside what load tests have measured.

hierfl loadtest --devices 1000 --out load-1000
python -m benchmarks.plan load-1000/loadtest.json ...
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from deploy.loadtest.load import Load, plan_of
from hierfl.planning.cost import MEASURED, Line
from hierfl.planning.forecast import forecast

CHILD = Line(2.56e-4, 2.0e-10)
"""Processor time of a device's process for a step. How much more a run has taken than that says how
slow the machine was: on one that others share, the same work takes up to 1.6 times the processor
time."""

BARE = 6.1e7
"""Bytes of an edge's process when it begins, above which its growth is measured."""


def rows(found: dict[str, Any]) -> list[tuple[str, float, float]]:
    """Return (what, computed, measured) of one load test; processor times in ms."""
    d = found["parameters"]
    load = Load(found["devices"], found["edges"], d, found["steps"])
    config = load.config()
    sent = forecast(config, plan_of(config, d)).payload()
    each = load.devices / load.edges
    step = MEASURED.ballot.at(d) + MEASURED.decision.at(d) / each
    round_ = MEASURED.base.at(d) + MEASURED.edge_round.at(d) / each
    cloud = MEASURED.report.at(d) + MEASURED.cloud_round.at(d) / load.edges
    pace = found["child_cpu_s"] / CHILD.at(d)
    return [
        ("edge, device and step, ms", 1e3 * step, 1e3 * found["edge_cpu_s"]),
        ("the same, at this run's pace", 1e3 * step * pace, 1e3 * found["edge_cpu_s"]),
        ("edge, device and round, ms", 1e3 * round_, 1e3 * found["edge_round_cpu_s"]),
        ("cloud, edge and round, ms", 1e3 * cloud, 1e3 * found["cloud_cpu_s"]),
        ("payload, MB", (sent["device_up"] + sent["device_down"]) / 1e6, found["payload"] / 1e6),
        (
            "edge's memory, a device, kB",
            (MEASURED.device_memory.at(d) + (MEASURED.node_memory.at(d) - BARE) / each) / 1e3,
            found["edge_peak"] / 1e3,
        ),
    ]


def main(files: list[str]) -> None:
    """Print a table."""
    print("devices  edges  parameters  what                             computed  measured   ratio")
    for file in files:
        found = json.loads(Path(file).read_text())
        for what, computed, measured in rows(found):
            print(
                f"{found['devices']:7}  {found['edges']:5}  {found['parameters']:10}  {what:31}  "
                f"{computed:8.3f}  {measured:8.3f}  {computed / measured:6.2f}"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
