"""The verbs start, stop, status and logs, for the units on one host."""

from __future__ import annotations

from collections.abc import Callable

from deploy.ssh.apply import Say
from deploy.ssh.desired_state import Needs
from deploy.ssh.ssh import Remote

LINES = 20
"""Lines shown of each node's log."""


def start(remote: Remote, needs: Needs, say: Say) -> None:
    """Start the units that are not running."""
    _systemctl("start", remote, needs)
    status(remote, needs, say)


def stop(remote: Remote, needs: Needs, say: Say) -> None:
    """Stop the units; they start again at the next boot."""
    _systemctl("stop", remote, needs)
    status(remote, needs, say)


def status(remote: Remote, needs: Needs, say: Say) -> None:
    """Report the state of each unit."""
    properties = "--property=ActiveState --property=SubState --property=Result"
    script = [
        f"echo {unit.name} $(systemctl show {properties} --value {unit.service})"
        for unit in needs.units
    ]
    width = max((len(unit.name) for unit in needs.units), default=0)
    for line in remote.root("\n".join(script)).splitlines():
        name, result, active, sub = (*line.split(), "", "", "")[:4]
        failed = f", {result}" if active == "failed" else ""
        say(f"{name:{width}}  {active} ({sub}{failed})")


def logs(remote: Remote, needs: Needs, say: Say) -> None:
    """Show the last lines of each unit's log."""
    for unit in needs.units:
        options = f"--lines {LINES} --no-pager --output cat"
        for line in remote.root(f"journalctl --unit {unit.service} {options}").splitlines():
            say(f"{unit.node}: {line}")


def _systemctl(verb: str, remote: Remote, needs: Needs) -> None:
    if needs.units:
        remote.root(f"systemctl {verb} {' '.join(unit.service for unit in needs.units)}")


VERBS: dict[str, Callable[[Remote, Needs, Say], None]] = {
    "start": start, "stop": stop, "status": status, "logs": logs,
}  # fmt: skip
