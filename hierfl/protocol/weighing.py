"""How much each of a parent's children counts in a mean: what it says it holds, within reason.

A child's number of samples is its own word. One that says 2^31 would own every mean that is weighed
by samples: its cluster's, and through its edge the global model.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from hierfl.config import Config

log = logging.getLogger(__name__)

MULTIPLE = 3
"""A child counts as at most so many times the median of its parent's children.

In the default tree it cuts nobody: with `iid` all hold the same, with `dirichlet` (alpha 0.3) the
largest device has at most 2.7 times its cluster's median in 20 draws. In larger clusters a device
may have up to 5.7 times the median; it is cut then. Larger multiples do not help: with 10, a device
that claims 2^31 samples takes a federation of two clusters with 5 classes each from 96.9% to 50.1%,
as without a limit; with 3 to 78.3%, with 2 to 90.5%. But 2 cuts honest devices in most draws.
"""


@dataclass
class Weighing:
    """Says as how many samples each child counts.

    The median is the lower one of two: of two children, the one that says less is believed. It is
    taken per device, so that an edge with many devices may have as many times the samples.

    Args:
        equal: every child counts as one sample (`weights: equal`).
        most: as how many samples a device counts at most (`data.most_examples`); None: as
            `MULTIPLE` times the median.
        names: the children's names by node id, for the log.
        devices: how many devices are behind each child, by node id; 1 unless it is there.
    """

    equal: bool
    most: int | None
    names: Mapping[int, str]
    devices: Mapping[int, int] = field(default_factory=dict)
    _told: set[int] = field(default_factory=set)

    @classmethod
    def of_edges(cls, config: Config, names: Mapping[int, str]) -> Weighing:
        """Return the cloud's, of its edges."""
        tree = config.tree()
        devices = {node_id: len(tree[name]) for node_id, name in names.items()}
        return cls(config.weights == "equal", config.data.most_examples, names, devices)

    def count(self, claimed: Mapping[int, int], times: int = 1) -> dict[int, int]:
        """Return as how many samples each child counts, at least 1.

        Args:
            claimed: how many it says it holds, or took part: node id -> at least 1.
            times: how often each sample was counted in that.
        """
        if self.equal:
            return dict.fromkeys(claimed, 1)
        if not claimed:
            return {}
        limit = times * self.most if self.most else MULTIPLE * self._median(claimed)
        counted = {
            node_id: min(examples, limit * self.devices.get(node_id, 1))
            for node_id, examples in claimed.items()
        }
        for node_id, examples in counted.items():
            if examples < claimed[node_id] and node_id not in self._told:
                self._told.add(node_id)
                log.warning(
                    "%s says that it has %d samples: it counts as %d%s",
                    self.names[node_id],
                    claimed[node_id],
                    examples,
                    "" if self.most else f", {MULTIPLE} times the median (data.most_examples)",
                )
        return counted

    def _median(self, claimed: Mapping[int, int]) -> int:
        """Return the lower median of the samples of one device."""
        each = sorted(
            max(1, examples // self.devices.get(node_id, 1))
            for node_id, examples in claimed.items()
        )
        return each[(len(each) - 1) // 2]
