"""What a testbed's interfaces have carried: the kernel's own count of bytes, headers and all."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from hierfl.errors import RunFailed

VARIABLE = "HIERFL_SWITCH"
"""The network namespace of the testbed's switch, for the nodes on it."""

TIERS = {"d": "device", "e": "edge"}
"""What the first letter of a port's name at the switch says: whose link it ends."""


def carried() -> dict[str, int] | None:
    """Return the bytes on the four links since the testbed was built; None where there is none.

    They are whole Ethernet frames, without preamble and checksum.

    Raises:
        RunFailed: the counters cannot be read.
    """
    switch = os.environ.get(VARIABLE)
    if not switch:
        return None
    command = ["ip", "-n", switch, "-s", "-j", "link", "show"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RunFailed(f"the testbed's counters cannot be read: {done.stderr.strip()}")
    return summed(json.loads(done.stdout))


def summed(ports: list[dict[str, Any]]) -> dict[str, int]:
    """Sum what `ip -s -j link` tells of the switch's ports, which receive what goes up."""
    total = {f"{tier}_{way}": 0 for tier in TIERS.values() for way in ("up", "down")}
    for port in ports:
        tier = TIERS.get(port["ifname"][0])
        if tier and port.get("link_type") == "ether" and port["ifname"][1:].isdigit():
            total[f"{tier}_up"] += port["stats64"]["rx"]["bytes"]
            total[f"{tier}_down"] += port["stats64"]["tx"]["bytes"]
    return total
