"""The desired state of one host, computed from the topology and hosts.yaml."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from deploy.ssh.files import Entry
from deploy.ssh.inventory import Host
from deploy.ssh.package import Package
from deploy.ssh.units import ROLES, Unit, code_folder, unit_file, unit_text, units_of
from hierfl.config import Config
from hierfl.config.folder import as_written
from hierfl.tls.identity import CA
from hierfl.tls.policy import identity, revocation_file
from hierfl.tls.revocation import FILE


@dataclass(frozen=True)
class Needs:
    """The desired state of a host.

    Attributes:
        host: the host.
        units: the units of its nodes.
        entries: its files and folders, parents first.
        elsewhere: paths of keys that are not on this machine and must be on the host.
        python: the interpreter that runs the nodes.
    """

    host: Host
    units: list[Unit]
    entries: list[Entry]
    elsewhere: list[str]
    python: str

    @property
    def installs(self) -> bool:
        """Whether a package is installed into a venv on the host."""
        return bool(self.units) and self.host.python is None

    @property
    def certs(self) -> str:
        """The folder of its certificates."""
        return certs_folder(self.host)

    @property
    def code(self) -> str:
        """The folder of the user's own code."""
        return code_folder(self.host)

    @property
    def started(self) -> str:
        """The folder that holds the fingerprint with which each unit was started."""
        return f"{self.host.paths.config}/started"

    def strays(self) -> list[str]:
        """Return the paths of unit files that the host should not have."""
        own = {entry.path for entry in self.entries}
        return [file for file in map(unit_file, ROLES) if file not in own]

    def fingerprint(self, unit: Unit, package: Package | None) -> str:
        """Return a hash of what a unit depends on; if it changes, the unit is restarted."""
        paths = self.host.paths
        of_unit = {
            unit_file(unit.role), f"{paths.config}/topology.yaml", f"{self.certs}/{CA}.crt",
            f"{self.certs}/{unit.node}.crt", f"{self.certs}/{unit.node}.key",
        }  # fmt: skip
        parts = [
            entry.path + entry.state()
            for entry in self.entries
            if entry.path in of_unit or entry.path.startswith(f"{self.code}/")
        ]
        parts.append("" if package is None else package.fingerprint())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def certs_folder(host: Host) -> str:
    """Return the folder of a host's certificates."""
    return f"{host.paths.config}/certs"


def needs(config: Config, host: Host, code: Mapping[str, bytes] | None = None) -> Needs:
    """Return the desired state of a host for its nodes of a resolved configuration.

    Args:
        config: the configuration.
        host: the host.
        code: the files of the user's own modules, by their relative paths.

    Raises:
        ConfigError: if a node has no valid certificate.
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
        revoked = revocation_file(config)
        if revoked is not None and revoked.exists() and any(u.role != "device" for u in units):
            there = f"{certs_folder(host)}/{FILE}"  # read at each hello: no unit is restarted
            certificates.append(Entry(there, 0o644, "root", revoked.read_bytes()))
    paths = host.paths
    entries = [
        Entry(paths.config, 0o755, "root", None),
        Entry(f"{paths.config}/started", 0o755, "root", None),
        Entry(f"{paths.config}/topology.yaml", 0o644, "root", _topology(config, host)),
        *certificates,
        *_code(code_folder(host), code or {}),
        Entry(paths.state, 0o750, host.user, None),
        *(Entry(unit_file(role), 0o644, "root", text.encode()) for role, text in texts.items()),
    ]
    return Needs(host, units, entries, elsewhere, python)


def _code(folder: str, files: Mapping[str, bytes]) -> Iterator[Entry]:
    """Yield the user's own code, folders before what is in them."""
    folders = {parent for path in files for parent in PurePosixPath(path).parents}
    for parent in sorted({PurePosixPath(), *folders}):
        yield Entry(str(PurePosixPath(folder) / parent), 0o755, "root", None)
    for path, content in files.items():
        yield Entry(f"{folder}/{path}", 0o644, "root", content)


def _topology(config: Config, host: Host) -> bytes:
    """Return the topology file for a host; its paths are those of files there."""
    root = Path(host.data) if host.data else as_written(config, config.data.root)
    state = Path(host.paths.state)  # relative paths start there; absolute ones stay
    data = config.data.model_copy(update={"root": state / root if root else None})
    start = as_written(config, config.start_from)
    update = {"data": data, "start_from": state / start if start else None, "folder": None}
    config = config.model_copy(update=update)
    if config.app is not None:
        path = Path(code_folder(host)) / config.app.path.resolve().name
        app = config.app.model_copy(update={"path": path})
        config = config.model_copy(update={"app": app})
    if config.security.certs is not None:
        there = Path(certs_folder(host))
        revoked = there / FILE if config.security.revoked else None
        security = config.security.model_copy(update={"certs": there, "revoked": revoked})
        config = config.model_copy(update={"security": security})
    return config.to_yaml().encode()


def _certificates(config: Config, folder: Path, units: list[Unit]) -> Iterator[Path]:
    """Yield the certificate files of units; a key may be missing on this machine."""
    yield folder / f"{CA}.crt"
    for unit in units:
        certificate = folder / f"{unit.node}.crt"
        if certificate.with_suffix(".key").exists() or not certificate.exists():
            identity(config, unit.node)
        yield certificate
        yield certificate.with_suffix(".key")
