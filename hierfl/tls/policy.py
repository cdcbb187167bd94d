"""When certificates are required: for every address that is not a loopback address."""

from __future__ import annotations

from ipaddress import ip_address

from hierfl.config import Config
from hierfl.config.addresses import split
from hierfl.errors import ConfigError
from hierfl.tls.identity import Identity


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


def is_loopback(address: str) -> bool:
    """Return whether only this machine can reach an address."""
    host, _ = split(address)
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
