"""What a configuration says of who may talk to whom: certificates, or plain text at home."""

from __future__ import annotations

from ipaddress import ip_address

from hierfl.config import Config
from hierfl.config.addresses import split
from hierfl.errors import ConfigError
from hierfl.tls.identity import Identity


def refuse_exposure(config: Config) -> None:
    """Refuse a federation that would talk in plain text beyond this machine.

    Raises:
        ConfigError: if a parent listens elsewhere than at a loopback address, there are no
            certificates, and the configuration does not say that this is meant.
    """
    if config.security.certs is not None or config.security.insecure:
        return
    for key, address in config.addresses().items():
        if not is_loopback(address):
            raise ConfigError(
                "security",
                f"{key} is {address}, beyond this machine, and there are no certificates: anybody "
                "who can reach it could join, listen and change the model",
                "Make certificates with `hierfl certs TOPOLOGY --out certs`, and set\n"
                "`security: {certs: certs}`; or say that you trust everyone on the network with\n"
                "`security: {insecure: true}`.",
            )


def identity(config: Config, name: str) -> Identity | None:
    """Return what a node shows its peers; None where they talk in plain text.

    Raises:
        ConfigError: if plain text would go beyond this machine, or the node's certificate cannot
            serve.
    """
    refuse_exposure(config)
    certs = config.security.certs
    return None if certs is None else Identity.read(certs, name)


def is_loopback(address: str) -> bool:
    """Return whether nothing but this machine can reach what listens at an address."""
    host, _ = split(address)
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
