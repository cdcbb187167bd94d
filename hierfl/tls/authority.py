"""Creates the certificates of a topology in a folder; existing files are kept."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from hierfl.config import CLOUD, Config
from hierfl.config.addresses import split
from hierfl.errors import ConfigError
from hierfl.tls.identity import CA
from hierfl.tls.revocation import FILE, append
from hierfl.tls.x509 import CHILD, PARENT, issue, issue_ca

DAYS = 365
"""Days for which a node's certificate is valid by default."""

CA_DAYS = 3650
"""Days for which a CA's certificate is valid."""

_LIKE_AN_ADDRESS = re.compile(r"[0-9]*\.[0-9.]*")


@dataclass(frozen=True)
class Certified:
    """One certificate in the folder.

    Attributes:
        name: the name of its node, or "ca".
        until: the end of its validity.
        new: whether it has just been created.
    """

    name: str
    until: datetime
    new: bool


@dataclass(frozen=True)
class _Node:
    """The content of a node's certificate; a device has no hosts."""

    name: str
    hosts: tuple[str, ...]
    roles: tuple[x509.ObjectIdentifier, ...]


def make_certificates(
    config: Config,
    folder: Path,
    *,
    days: int = DAYS,
    renew: bool = False,
    rekey: Collection[str] = (),
    now: datetime | None = None,
) -> list[Certified]:
    """Create the CA and the nodes' certificates, unless they exist.

    Files: ca.crt, ca.key, and NAME.crt and NAME.key for each node. For edges and devices the key is
    also written in OpenSSH's format, which Flower's SuperNodes require: NAME.ssh and NAME.pub.
    Private keys are readable only by their owner. A renewed certificate is for the same key as the
    old one; the key file need not be in the folder.

    Args:
        config: the configuration, for names and addresses.
        folder: the folder of the files.
        days: days for which the nodes' certificates are valid from now on.
        renew: whether existing certificates of nodes are replaced; the CA never is.
        rekey: nodes that get a new key and certificate. The serial numbers of their old
            certificates are added to `revoked` in the folder.
        now: the time of creation; None: this machine's.

    Returns:
        The CA, then the nodes in the topology's order.

    Raises:
        ConfigError: if a name cannot be used in a certificate, a file cannot be read or written, or
            the CA expires before the new certificates.
    """
    nodes = list(_nodes(config))
    _refuse_names(nodes)
    for name in rekey:
        if name not in {node.name for node in nodes}:
            raise ConfigError("--rekey", f"the topology has no node {name}")
    start = (now or datetime.now(UTC)).replace(microsecond=0)
    end = start + timedelta(days=days)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        maker = _Maker(folder, config.name, start, end)
        for name in rekey:
            maker.discard(name)
        return [maker.authority, *(maker.certify(node, renew) for node in nodes)]
    except OSError as error:
        raise ConfigError("--out", f"{error.filename or folder}: {error.strerror}") from None


def report(made: list[Certified], folder: Path) -> list[str]:
    """Return lines that describe the certificates in a folder."""
    now, width = datetime.now(UTC), max(len(one.name) for one in made)
    lines = []
    for one in made:
        life = "valid until" if one.until > now else "expired on"
        lines.append(
            f"{one.name:{width}}  {'created' if one.new else 'kept'}, {life} {one.until:%Y-%m-%d}"
        )
    if any(one.until <= now for one in made[1:]):
        lines.append("To replace expired certificates, add --renew. Keys are kept, so only the")
        lines.append("NAME.crt files must be copied again.")
    if (folder / FILE).exists():
        lines.append(f"{folder / FILE} lists revoked certificates. Copy it to")
        lines.append("security.certs of all parents: they read it at each hello.")
    lines += [
        f"Each node needs ca.crt, NAME.crt and NAME.key of {folder} in its folder security.certs.",
        "On Flower's engine it also needs NAME.ssh, and its parent needs NAME.pub.",
        "Keys are secret: copy them over ssh. Keep ca.key here: whoever has it can be any node.",
    ]
    return lines


class _Maker:
    """Creates what is missing in a folder.

    Attributes:
        authority: the CA, created if there was none.
    """

    def __init__(self, folder: Path, federation: str, start: datetime, end: datetime) -> None:
        self._folder, self._start, self._end = folder, start, end
        self._ca_file = folder / f"{CA}.crt"
        new = not self._ca_file.exists()
        if new:
            life = timedelta(days=CA_DAYS)
            key = _key(self._ca_file.with_suffix(".key"))
            _put(self._ca_file, issue_ca(federation, key, start, start + life))
        self._ca = _certificate(self._ca_file)
        self.authority = Certified(CA, self._ca.not_valid_after_utc, new)

    def certify(self, node: _Node, renew: bool) -> Certified:
        """Create a node's certificate if there is none or if `renew` is set."""
        file = self._folder / f"{node.name}.crt"
        if file.exists() and not renew:
            old = _certificate(file)
            self._refuse_foreign(file, old)
            return Certified(node.name, old.not_valid_after_utc, new=False)
        if self._end > self._ca.not_valid_after_utc:
            raise ConfigError(
                "--days",
                f"the certificate of {node.name} would be valid longer than {self._ca_file}, which "
                f"expires on {self._ca.not_valid_after_utc:%Y-%m-%d}",
                "Give fewer --days, or create a new CA in an empty --out.",
            )
        ca_key = self._ca_key()
        kept = file.with_suffix(".key")
        elsewhere = file.exists() and not kept.exists()
        public = _certificate(file).public_key() if elsewhere else _key(kept).public_key()
        if CHILD in node.roles and not elsewhere and not kept.with_suffix(".ssh").exists():
            _put_ssh(kept)
        life = self._start, self._end
        made = issue(self._ca, ca_key, node.name, node.hosts, node.roles, public, *life)
        _put(file, made)
        return Certified(node.name, made.not_valid_after_utc, new=True)

    def discard(self, name: str) -> None:
        """Revoke a node's certificate; remove it, and its keys."""
        self._ca_key()  # without it there would be no new one
        file = self._folder / f"{name}.crt"
        if file.exists():
            append(self._folder / FILE, _certificate(file).serial_number, name)
        for suffix in (".crt", ".key", ".ssh", ".pub"):
            file.with_suffix(suffix).unlink(missing_ok=True)

    def _ca_key(self) -> ec.EllipticCurvePrivateKey:
        file = self._ca_file.with_suffix(".key")
        if not file.exists():
            hint = "Run this where the CA was created."
            raise ConfigError("--out", f"{file} is missing; it is needed to sign", hint)
        key = _key(file)
        if key.public_key() != self._ca.public_key():
            raise ConfigError("--out", f"{file} does not belong to {self._ca_file}")
        return key

    def _refuse_foreign(self, file: Path, certificate: x509.Certificate) -> None:
        try:
            certificate.verify_directly_issued_by(self._ca)
        except (ValueError, TypeError, InvalidSignature):
            hint = "Use --renew to replace it, or an empty --out."
            raise ConfigError(
                "--out", f"{file} was not issued by the CA in {self._ca_file}", hint
            ) from None


def _nodes(config: Config) -> Iterator[_Node]:
    yield _Node(CLOUD, (_host(config.cloud.address),), (PARENT,))
    for edge in config.edges:
        yield _Node(edge.name, (_host(edge.address),), (PARENT, CHILD))
        for device in edge.devices:
            yield _Node(device, (), (CHILD,))


def _host(address: str) -> str:
    return split(address)[0]


def _refuse_names(nodes: list[_Node]) -> None:
    """Refuse names that TLS would take for another name or an address, and the CA's file name.

    TLS ignores case and a trailing dot when it compares names.
    """
    seen = {CA: CA}
    for name in (node.name for node in nodes):
        plain = name.lower().rstrip(".")
        other = "an address" if _LIKE_AN_ADDRESS.fullmatch(name) else seen.get(plain)
        if other is not None:
            problem = f"in certificates, the name {name!r} cannot be distinguished from {other!r}"
            raise ConfigError("edges", problem, "Give the node another name.")
        seen[plain] = name


# -- files ----------------------------------------------------------------------------------------


def _key(file: Path) -> ec.EllipticCurvePrivateKey:
    """Return the key in a file; create the file if it does not exist."""
    if not file.exists():
        new = ec.generate_private_key(ec.SECP256R1())
        _write(file, new.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise ConfigError("--out", f"{file} holds no private key: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError("--out", f"{file} holds no elliptic-curve key")
    return key


def _put_ssh(file: Path) -> None:
    """Write the key of a file beside it in OpenSSH's format, private and public."""
    key = _key(file)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    _write(file.with_suffix(".ssh"), private, 0o600)
    _write(file.with_suffix(".pub"), public + b"\n", 0o644)


def _certificate(file: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(file.read_bytes())
    except ValueError as error:
        raise ConfigError("--out", f"{file} holds no certificate: {error}") from None


def _put(file: Path, certificate: x509.Certificate) -> None:
    _write(file, certificate.public_bytes(Encoding.PEM), 0o644)


def _write(file: Path, data: bytes, mode: int) -> None:
    """Write a file atomically; a key is never readable by others, not even for a moment."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
        stream.write(data)
    draft.replace(file)
