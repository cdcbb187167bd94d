"""X.509 certificates of a CA and of nodes. Keys are elliptic (P-256)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

EARLY = timedelta(minutes=5)
"""Certificates are valid from so long before their creation: a node's clock may be behind."""

PARENT, CHILD = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
"""Roles of a node: one that listens, one that connects."""


def issue_ca(
    federation: str, key: EllipticCurvePrivateKey, now: datetime, end: datetime
) -> x509.Certificate:
    """Return the certificate of a federation's CA, which may sign only nodes' certificates."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, federation),
            x509.NameAttribute(NameOID.COMMON_NAME, "hierfl CA"),
        ]
    )
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        _builder(subject, subject, key.public_key(), now, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(own, critical=False)
        .sign(key, hashes.SHA256())
    )


def issue(
    ca: x509.Certificate,
    ca_key: EllipticCurvePrivateKey,
    name: str,
    hosts: Sequence[str],
    roles: Sequence[x509.ObjectIdentifier],
    key: CertificatePublicKeyTypes,
    now: datetime,
    end: datetime,
) -> x509.Certificate:
    """Return a node's certificate.

    Args:
        ca: the CA's certificate.
        ca_key: its key.
        name: the node's name in the topology.
        hosts: the node's host names or addresses.
        roles: PARENT, CHILD or both.
        key: the node's public key.
        now: the time of creation.
        end: the end of its validity.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = [x509.DNSName(name), *(_general(host) for host in hosts if host != name)]
    issuer = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer)
    return (
        _builder(subject, ca.subject, key, now, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(roles), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(authority, critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: CertificatePublicKeyTypes,
    now: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=issuer,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - EARLY,
        not_valid_after=end,
    )


def _usage(ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
