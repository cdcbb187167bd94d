"""When certificates are required: for every address that is not a loopback address."""

from __future__ import annotations

import logging
from pathlib import Path

from hierfl.config import Config, addresses
from hierfl.errors import ConfigError
from hierfl.tls.identity import Identity, expiring
from hierfl.tls.revocation import FILE, RevocationList

log = logging.getLogger(__name__)


def refuse_exposure(config: Config) -> None:
    """Refuse a federation that would send plain text to other machines.

    Raises:
        ConfigError: if a parent listens at an address that is not a loopback address, there are no
            certificates, and the configuration does not set `security.insecure`.
    """
    if config.security.certs is not None or config.security.insecure:
        return
    for key, address in config.addresses().items():
        if not is_loopback(address):
            raise ConfigError(
                "security",
                f"{key} is {address}, which others can reach, and there are no certificates: "
                "anyone on the network could join, read the traffic and change the model",
                "Create certificates with `hierfl certs TOPOLOGY --out certs` and set\n"
                "`security: {certs: certs}`. If you trust everyone on the network, set\n"
                "`security: {insecure: true}`.",
            )


def identity(config: Config, name: str) -> Identity | None:
    """Return a node's identity; None where links are plain text.

    Raises:
        ConfigError: if plain text would leave this machine, or the node's certificate cannot be
            used.
    """
    refuse_exposure(config)
    certs = config.security.certs
    return None if certs is None else Identity.read(certs, name)


def revocations(config: Config) -> RevocationList | None:
    """Return the list of whom a parent does not let in; None if there can be none."""
    file = revocation_file(config)
    return RevocationList(file, config.security.revoked is not None) if file else None


def revocation_file(config: Config) -> Path | None:
    """Return the file of that list, which need not be there; None if there can be none."""
    security = config.security
    return security.revoked or (security.certs / FILE if security.certs else None)


def warn_of_expiry(mine: Identity | None) -> None:
    """Say so in the log if a node's certificate expires soon."""
    from cryptography.x509 import load_pem_x509_certificate

    if mine is not None and (line := expiring(load_pem_x509_certificate(mine.certificate))):
        log.warning("the certificate of %s %s: renew it with `hierfl certs`", mine.name, line)


def is_loopback(address: str) -> bool:
    """Return whether only this machine can reach an address."""
    host, _ = addresses.split(address)
    return addresses.is_loopback(host)
