"""A node's identity: its certificate and key, and the certificate of the CA."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hierfl.errors import ConfigError, RunFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    import grpc
    from cryptography.x509 import Certificate

CA = "ca"
"""The base name of the CA's files; no node can have this name."""

KEY = "security.certs"

SOON = timedelta(days=30)
"""A certificate that expires within this time gets a warning."""


@dataclass(frozen=True)
class Identity:
    """What a node shows its peers and what it verifies them with.

    Attributes:
        name: the node's name, as in its certificate.
        ca: the CA's certificate, PEM.
        certificate: the node's certificate, PEM.
        key: the node's private key, PEM.
    """

    name: str
    ca: bytes
    certificate: bytes
    key: bytes

    @classmethod
    def read(cls, folder: Path, name: str, now: datetime | None = None) -> Identity:
        """Read and check ca.crt, NAME.crt and NAME.key.

        Args:
            folder: their folder.
            name: the node.
            now: the time at which they must be valid; None: this machine's.

        Raises:
            ConfigError: if one is missing or unreadable, they do not belong together, or one is
                not valid now.
        """
        mine = cls(
            name,
            ca=_read(folder / f"{CA}.crt"),
            certificate=_read(folder / f"{name}.crt"),
            key=_read(folder / f"{name}.key"),
        )
        _check(mine, folder, now or datetime.now(UTC))
        return mine

    def towards(self, parent: str) -> Towards:
        """Return the credentials with which this node connects to its parent of that name."""
        return Towards(self, parent)

    def to_children(self) -> grpc.ServerCredentials:
        """Return credentials for a server that requires certificates of the same CA."""
        import grpc  # 0.1 s, which a process that only reads a configuration need not spend

        return grpc.ssl_server_credentials(
            [(self.key, self.certificate)], self.ca, require_client_auth=True
        )


@dataclass(frozen=True)
class Towards:
    """A child's identity for connections to one parent.

    The parent must show a certificate for its own name, at whatever address: addresses change, and
    another machine may have taken one over.
    """

    identity: Identity
    parent: str

    def channel(self, address: str, options: list[tuple[str, Any]], api: Any) -> Any:
        """Return a channel to the parent; see `dial`."""
        import grpc

        mine = self.identity
        credentials = grpc.ssl_channel_credentials(mine.ca, mine.key, mine.certificate)
        named = ("grpc.ssl_target_name_override", self.parent)
        return api.secure_channel(address, credentials, [*options, named])

    def mistrust(self, details: str) -> str | None:
        """Return what is wrong with the peer's certificate, or None for any other error.

        Args:
            details: the details of gRPC's error.
        """
        for sign, meaning in _MISTRUST.items():
            if sign in details:
                return meaning.format(parent=self.parent)
        return None


def dial(address: str, options: list[tuple[str, Any]], towards: Towards | None, api: Any) -> Any:
    """Return a channel to a parent: with this node's identity, or in plain text if it has none.

    Args:
        address: "host:port" of the parent.
        options: gRPC's channel options.
        towards: this node's identity on its way to the parent.
        api: which of gRPC's two interfaces the channel is of: `grpc` or `grpc.aio`.
    """
    if towards is None:
        return api.insecure_channel(address, options)
    return towards.channel(address, options, api)


_MISTRUST = {
    "Hostname Verification Check failed": "the node at this address is not {parent}",
    "certificate has expired": "the certificate of {parent} has expired",
    "certificate is not yet valid": "the certificate of {parent} is not valid yet: "
    "check the clocks of both machines",
    "unsupported certificate purpose": "the node at this address has no certificate of a parent",
    "CERTIFICATE_VERIFY_FAILED": "the node at this address has no certificate of this "
    "federation's CA",
    "WRONG_VERSION_NUMBER": "the node at this address does not use TLS: is security.certs set at "
    "{parent}?",
}
"""Messages of BoringSSL and gRPC, the more general ones last; a test checks each with gRPC."""


def certified_name(auth: Mapping[str, Any]) -> str | None:
    """Return the name in a peer's certificate, from a gRPC context's `auth_context()`."""
    names = auth.get("x509_common_name", ())
    return names[0].decode(errors="replace") if len(names) == 1 else None


def expiring(certificate: Certificate, now: datetime | None = None) -> str | None:
    """Return "expires on DATE" if a certificate does so within 30 days, else None."""
    end = certificate.not_valid_after_utc
    return f"expires on {end:%Y-%m-%d}" if end - (now or datetime.now(UTC)) < SOON else None


def shown_certificate(auth: Mapping[str, Any]) -> Certificate | None:
    """Return the certificate that a peer has shown, from a gRPC context's `auth_context()`."""
    from cryptography.x509 import load_pem_x509_certificate

    shown = auth.get("x509_pem_cert", ())
    try:
        return load_pem_x509_certificate(shown[0]) if len(shown) == 1 else None
    except ValueError:
        return None


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        hint = "Create it with `hierfl certs TOPOLOGY --out DIR` and copy it to this machine."
        if not (file.parent / f"{CA}.crt").exists():  # the folder may not be mounted yet
            raise RunFailed(
                f"{KEY}: {file} does not exist", f"Is the folder there?\n{hint}"
            ) from None
        raise ConfigError(KEY, f"{file} does not exist", hint) from None
    except OSError as error:
        raise RunFailed(f"{KEY}: {file} cannot be read: {error.strerror}") from None


def _check(mine: Identity, folder: Path, now: datetime) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    own, ca = folder / f"{mine.name}.crt", folder / f"{CA}.crt"
    certificate, issuer = _parse(mine.certificate, own), _parse(mine.ca, ca)
    try:
        key = load_pem_private_key(mine.key, password=None)
    except (ValueError, TypeError) as error:
        raise _wrong(f"{own.with_suffix('.key')} holds no private key: {error}") from None
    if key.public_key() != certificate.public_key():
        raise _wrong(f"{own.with_suffix('.key')} does not belong to {own}")
    if (stated := common_name(certificate)) != mine.name:
        raise _wrong(f"{own} is the certificate of {stated!r}")
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        raise _wrong(f"{own} was not issued by the CA in {ca}") from None
    for file, one in ((own, certificate), (ca, issuer)):
        _check_time(file, one, now)


def _check_time(file: Path, certificate: Certificate, now: datetime) -> None:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > end:
        again = "--renew" if file.stem != CA else "and an empty --out"
        hint = f"Create a new one with `hierfl certs TOPOLOGY --out DIR` {again}."
        raise ConfigError(KEY, f"{file} expired on {end:%Y-%m-%d}", hint)
    if now < start:
        hint = f"Check this machine's clock. It says {now:%Y-%m-%d %H:%M} UTC."
        raise ConfigError(KEY, f"{file} is not valid before {start:%Y-%m-%d %H:%M} UTC", hint)


def _parse(data: bytes, file: Path) -> Certificate:
    from cryptography.x509 import load_pem_x509_certificate

    try:
        return load_pem_x509_certificate(data)
    except ValueError as error:
        raise _wrong(f"{file} holds no certificate: {error}") from None


def common_name(certificate: Certificate) -> str:
    """Return the name in a certificate; "" if it has none or several."""
    from cryptography.x509 import NameOID

    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""


def _wrong(message: str) -> ConfigError:
    return ConfigError(KEY, message, "Copy ca.crt, NAME.crt and NAME.key from the same DIR of"
                       " `hierfl certs TOPOLOGY --out DIR`.")  # fmt: skip
