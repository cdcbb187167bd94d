"""Brings one host to its desired state: what differs is changed and reported, the rest is kept.

No state of the hosts is kept on this machine. On the host, a file per unit in `started`, written
after its start, holds the fingerprint of what it was started with. An interrupted deployment is
repeated.
"""

from __future__ import annotations

from collections.abc import Callable

from deploy.ssh.desired_state import Needs
from deploy.ssh.facts import Found, stamp, survey
from deploy.ssh.files import Entry, packed
from deploy.ssh.package import Package
from deploy.ssh.ssh import Remote
from deploy.ssh.units import Unit
from hierfl import __version__
from hierfl.errors import RunFailed

Say = Callable[[str], None]


def apply(remote: Remote, needs: Needs, package: Package | None, say: Say) -> None:
    """Change what differs on a host, and restart the units that are affected.

    Args:
        remote: the host.
        needs: its desired state.
        package: the package for its venv; None: it has an interpreter with hierfl.
        say: called with a line for each change.

    Raises:
        RunFailed: if it cannot be reached, or a command on it fails.
    """
    found = survey(remote, needs)
    _check(needs, found, say)
    _make_user(remote, needs, found, say)
    changed = package is not None and found.package != package.fingerprint()
    if changed and package is not None:
        say(f"installing {package.name} into {needs.host.paths.venv}")
        remote.root(_install(needs, package), packed(_files(needs, package)))
    files = _put(remote, needs, found, say)
    started = _restart(remote, needs, package, found, say)
    if not (changed or files or started):
        say("nothing to change")


def _check(needs: Needs, found: Found, say: Say) -> None:
    absent = [path for path in needs.elsewhere if path not in found.held]
    if absent:
        raise RunFailed(
            f"{', '.join(absent)} is missing both on the host and on this machine",
            "Create a new key with `hierfl certs TOPOLOGY --out DIR`.",
        )
    if found.python not in (None, __version__):
        say(f"{needs.python} has hierfl {found.python}; this machine has {__version__}")


def _make_user(remote: Remote, needs: Needs, found: Found, say: Say) -> None:
    if not found.user:
        user, state = needs.host.user, needs.host.paths.state
        remote.root(
            f"useradd --system --no-create-home --home-dir {state} --shell /usr/sbin/nologin {user}"
        )
        say(f"user {user} created")


# -- the package ----------------------------------------------------------------------------------


def _files(needs: Needs, package: Package) -> list[Entry]:
    folder = _package_folder(needs)
    return [
        Entry(folder, 0o755, "root", None),
        Entry(f"{folder}/{package.name}", 0o644, "root", package.wheel),
        Entry(f"{folder}/constraints.txt", 0o644, "root", package.constraints),
        Entry(
            f"{folder}/requirements.txt", 0o644, "root", "\n".join(package.requirements).encode()
        ),
    ]


def _install(needs: Needs, package: Package) -> str:
    """Install all dependencies, then hierfl itself, even if its version has not changed."""
    venv, folder = needs.host.paths.venv, _package_folder(needs)
    pip = f"{venv}/bin/python -m pip install --quiet --disable-pip-version-check"
    return f"""
rm -rf {folder}
tar -xpf - -C /
cd /
[ -x {venv}/bin/python ] || python3 -m venv {venv}
{pip} -c {folder}/constraints.txt -r {folder}/requirements.txt {folder}/{package.name}
{pip} --force-reinstall --no-deps {folder}/{package.name}
echo {package.fingerprint()} > {stamp(needs)}
"""


def _package_folder(needs: Needs) -> str:
    return f"{needs.host.paths.venv}/package"


# -- files ----------------------------------------------------------------------------------------


def _put(remote: Remote, needs: Needs, found: Found, say: Say) -> bool:
    """Write files that differ, remove those of other hosts' nodes; return whether any changed."""
    differ = [entry for entry in needs.entries if found.entries.get(entry.path) != entry.state()]
    kept = {entry.path for entry in needs.entries} | set(needs.elsewhere)
    extra = [path for path in found.held if path not in kept] + found.strays
    gone = [unit for unit in found.started if unit not in {unit.name for unit in needs.units}]
    script = ["tar -xpf - -C /"] if differ else []
    for unit in gone:
        script.append(f"systemctl disable --now {unit}.service")
        script.append(f"rm {needs.started}/{unit}")
    script += [f"rm {path}" for path in extra]
    if script:
        remote.root("\n".join(script), packed(differ))
    for entry in differ:
        say(f"{entry.path} {'changed' if entry.path in found.entries else 'created'}")
    for unit in gone:
        say(f"{unit} stopped: it no longer belongs to this host")
    for path in extra:
        say(f"{path} removed")
    return bool(script)


# -- units ----------------------------------------------------------------------------------------


def _restart(
    remote: Remote, needs: Needs, package: Package | None, found: Found, say: Say
) -> list[Unit]:
    """Restart the units that were started with something else; return them."""
    fingerprints = {unit: needs.fingerprint(unit, package) for unit in needs.units}
    due = [unit for unit in needs.units if found.started.get(unit.name) != fingerprints[unit]]
    for unit in due:
        condition = remote.root(
            "systemctl daemon-reload\n"
            f"systemctl enable --quiet {unit.service}\n"
            f"systemctl restart {unit.service}\n"
            f"echo {fingerprints[unit]} > {needs.started}/{unit.name}\n"
            f"systemctl show --value --property=ConditionResult {unit.service}"
        )
        again = "restarted" if unit.name in found.started else "started"
        say(f"{unit.name} {again if 'yes' in condition else 'not started: its run is done'}")
    return due
