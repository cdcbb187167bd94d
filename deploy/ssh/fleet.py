"""Works on all hosts at once; one that fails does not delay the others."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploy.project.own_code import own_code
from deploy.ssh.apply import Say, apply
from deploy.ssh.desired_state import Needs, needs
from deploy.ssh.dry_run import shown, shown_units
from deploy.ssh.inventory import nodes_of, read_hosts
from deploy.ssh.package import package, refuse_no_sources
from deploy.ssh.ssh import Remote
from deploy.ssh.systemctl import VERBS
from hierfl.config import Config
from hierfl.config.addresses import split
from hierfl.errors import ConfigError, HierflError, RunFailed, render
from hierfl.tls.policy import refuse_exposure

AT_ONCE = 32

Work = Callable[[Remote, Needs, Say], None]


class Fleet:
    """The machines of a federation.

    Args:
        config: the resolved configuration.
        file: hosts.yaml.

    Raises:
        ConfigError: if hosts.yaml is wrong, or a certificate is missing or not valid.
    """

    def __init__(self, config: Config, file: Path) -> None:
        refuse_exposure(config)
        _refuse_free_ports(config)
        hosts = read_hosts(file, config)
        code = own_code(config)
        files = code.files()
        self._needs = [needs(config, host, files) for host in hosts.hosts]
        self._requirements = code.requirements
        self._remotes = [Remote(host, hosts.ssh_config) for host in hosts.hosts]
        placed = {node for host in hosts.hosts for node in host.nodes}
        self._homeless = [node for node in nodes_of(config) if node not in placed]
        self._installs = any(one.installs for one in self._needs)

    def show(self, wheel: Path | None, units: bool) -> None:
        """Print the desired state of each host, without contacting any.

        Args:
            wheel: the wheel that was given.
            units: whether to show each file, and the units in full.
        """
        if self._installs and wheel is None:
            refuse_no_sources()
        what = str(wheel) if wheel else "a wheel of the local sources"
        for remote, one in zip(self._remotes, self._needs, strict=True):
            print("\n".join(shown(remote, one, what, units)), end="\n\n")
        if units:
            print("\n".join(shown_units(self._needs)), end="\n\n")
        self._tell_homeless()
        more = "" if units else " --units shows all files and units."
        print(f"Nothing was changed. Add --apply to carry it out.{more}")

    def apply(self, wheel: Path | None, constraints: Path | None) -> None:
        """Bring each host to its desired state.

        Raises:
            RunFailed: if it failed on some hosts.
        """
        built = package(wheel, constraints, self._requirements) if self._installs else None

        def bring(remote: Remote, one: Needs, say: Say) -> None:
            apply(remote, one, built if one.installs else None, say)

        self._tell_homeless()
        self._each(bring)

    def do(self, verb: str) -> None:
        """Run a verb on all hosts: start, stop, status or logs.

        Raises:
            ConfigError: if there is no such verb.
            RunFailed: if it failed on some hosts.
        """
        if verb not in VERBS:
            raise ConfigError("--do", f"expected {', '.join(VERBS)}, got {verb!r}")
        self._each(VERBS[verb])

    def _each(self, work: Work) -> None:
        width = max(len(one.host.name) for one in self._needs)
        printing = threading.Lock()

        def one(remote: Remote, needs: Needs) -> str | None:
            name = needs.host.name

            def say(line: str) -> None:
                with printing:
                    print(f"{name:{width}}  {line}", flush=True)

            try:
                work(remote, needs, say)
            except HierflError as error:
                with printing:
                    print(f"{name}: {render(error)}", file=sys.stderr, flush=True)
                return name
            return None

        with ThreadPoolExecutor(AT_ONCE) as pool:
            failed = [name for name in pool.map(one, self._remotes, self._needs) if name]
        if failed:
            raise RunFailed(
                f"{len(failed)} of {len(self._needs)} hosts failed: {', '.join(failed)}",
                "The others are done. Repeat the command to do the rest.",
            )

    def _tell_homeless(self) -> None:
        if self._homeless:
            print(f"No host runs {', '.join(self._homeless)}.")


def deploy(
    config: Config,
    file: Path,
    *,
    carry_out: bool,
    units: bool,
    verb: str | None,
    wheel: Path | None,
    constraints: Path | None,
) -> None:
    """Show the desired state of machines, apply it, or run a verb on them.

    Raises:
        HierflError: for any expected error.
    """
    if units and (carry_out or verb is not None):
        raise ConfigError("--units", "belongs to what is shown without --apply and --do")
    if carry_out and verb is not None:
        raise ConfigError("--do", "cannot be combined with --apply", "Run two commands.")
    fleet = Fleet(config, file)
    if verb is not None:
        fleet.do(verb)
    elif carry_out:
        fleet.apply(wheel, constraints)
    else:
        fleet.show(wheel, units)


def _refuse_free_ports(config: Config) -> None:
    for key, address in config.addresses().items():
        if not split(address)[1]:
            hint = "Choose a port: nodes on other machines must know it."
            raise ConfigError(key, f"port 0 of {address} means any free port", hint)
