"""What one host needs, all of it, as it follows from the topology and HOSTS.yaml."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.ssh.files import Entry
from deploy.ssh.inventory import Host
from deploy.ssh.package import Package
from deploy.ssh.units import ROLES, Unit, unit_file, unit_text, units_of
from hierfl.config import Config
from hierfl.tls.identity import CA
from hierfl.tls.policy import identity


@dataclass(frozen=True)
class Needs:
    """What a host is to have.

    Attributes:
        host: which one.
        units: its nodes.
        entries: files and folders, parents first.
        elsewhere: keys that are on the host only, and must be there.
        python: the interpreter that runs the nodes.
    """

    host: Host
    units: list[Unit]
    entries: list[Entry]
    elsewhere: list[str]
    python: str

    @property
    def installs(self) -> bool:
        """Whether a package goes into a venv there."""
        return bool(self.units) and self.host.python is None

    @property
    def certs(self) -> str:
        """The folder of its certificates."""
        return certs_folder(self.host)

    @property
    def started(self) -> str:
        """The folder that says of each unit what it was started with."""
        return f"{self.host.paths.config}/started"

    def strays(self) -> list[str]:
        """Return the units' files that the host should not have."""
        own = {entry.path for entry in self.entries}
        return [file for file in map(unit_file, ROLES) if file not in own]

    def fingerprint(self, unit: Unit, package: Package | None) -> str:
        """Return what a unit is started with: where it differs, the unit is to start again."""
        paths = self.host.paths
        of_unit = {
            unit_file(unit.role), f"{paths.config}/topology.yaml", f"{self.certs}/{CA}.crt",
            f"{self.certs}/{unit.node}.crt", f"{self.certs}/{unit.node}.key",
        }  # fmt: skip
        parts = [entry.path + entry.state() for entry in self.entries if entry.path in of_unit]
        parts.append("" if package is None else package.fingerprint())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def certs_folder(host: Host) -> str:
    """Return where a host's certificates are."""
    return f"{host.paths.config}/certs"


def needs(config: Config, host: Host) -> Needs:
    """Return what a host needs for its nodes of a resolved configuration.

    Raises:
        ConfigError: a node has no certificate that can serve.
    """
    units, python = units_of(config, host), host.python or f"{host.paths.venv}/bin/python"
    texts = {unit.role: unit_text(unit.role, config, host, python) for unit in units}
    certificates, elsewhere = [], []
    if config.security.certs is not None:
        certificates.append(Entry(certs_folder(host), 0o755, "root", None))
        for file in _certificates(config, config.security.certs, units):
            there = f"{certs_folder(host)}/{file.name}"
            if not file.exists():
                elsewhere.append(there)
            elif file.suffix == ".key":
                certificates.append(Entry(there, 0o600, host.user, file.read_bytes()))
            else:
                certificates.append(Entry(there, 0o644, "root", file.read_bytes()))
    paths = host.paths
    entries = [
        Entry(paths.config, 0o755, "root", None),
        Entry(f"{paths.config}/started", 0o755, "root", None),
        Entry(f"{paths.config}/topology.yaml", 0o644, "root", _topology(config, host)),
        *certificates,
        Entry(paths.state, 0o750, host.user, None),
        *(Entry(unit_file(role), 0o644, "root", text.encode()) for role, text in texts.items()),
    ]
    return Needs(host, units, entries, elsewhere, python)


def _topology(config: Config, host: Host) -> bytes:
    """Return the configuration as the host's nodes read it."""
    if config.security.certs is not None:
        security = config.security.model_copy(update={"certs": Path(certs_folder(host))})
        config = config.model_copy(update={"security": security})
    return config.to_yaml().encode()


def _certificates(config: Config, folder: Path, units: list[Unit]) -> Iterator[Path]:
    """Yield the files that units need; a key may be absent, as it need not be here any more."""
    yield folder / f"{CA}.crt"
    for unit in units:
        certificate = folder / f"{unit.node}.crt"
        if certificate.with_suffix(".key").exists() or not certificate.exists():
            identity(config, unit.node)
        yield certificate
        yield certificate.with_suffix(".key")
