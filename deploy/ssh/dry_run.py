"""Shows what would be done, without contacting a host."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.ssh.desired_state import Needs
from deploy.ssh.ssh import Remote
from deploy.ssh.units import UNITS
from hierfl.units import plural, size


def shown(remote: Remote, needs: Needs, package: str, files: bool) -> Iterator[str]:
    """Yield lines that describe the desired state of a host.

    Args:
        remote: the connection to it.
        needs: its desired state.
        package: a description of the wheel.
        files: whether each file is named.
    """
    host = needs.host
    yield f"{host.name}: {remote}"
    if needs.installs:
        yield f"  python3 -m venv {host.paths.venv}; install {package}"
    elif host.python is not None:
        yield f"  {host.python}, which has hierfl"
    yield f"  user {host.user}"
    contents = [entry.content for entry in needs.entries if entry.content is not None]
    yield f"  {plural(len(contents), 'file')}, {size(sum(map(len, contents)))}"
    for entry in needs.entries if files else ():
        what = "folder" if entry.content is None else f"{len(entry.content)} bytes"
        yield f"  {entry.path}  {entry.mode:o} {entry.owner}, {what}"
    for path in needs.elsewhere:
        yield f"  {path}  must exist on the host: it is not on this machine"
    for unit in needs.units:
        yield f"  systemctl enable --now {unit.service}"


def shown_units(all_needs: list[Needs]) -> Iterator[str]:
    """Yield the unit files, each once if it is the same on several hosts."""
    hosts: dict[tuple[str, str], list[str]] = {}
    for needs in all_needs:
        for entry in needs.entries:
            if entry.path.startswith(f"{UNITS}/") and entry.content is not None:
                hosts.setdefault((entry.path, entry.content.decode()), []).append(needs.host.name)
    for (path, text), names in hosts.items():
        yield f"{path} on {', '.join(names)}:"
        yield from (f"  {line}".rstrip() for line in text.splitlines())
