"""Where the page is served, and who may see it."""

from __future__ import annotations

import errno
import hmac
import os
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hierfl.config.addresses import is_loopback, split
from hierfl.errors import ConfigError, RunFailed

TOKEN_FILE = "page.token"
"""In the run folder, so that an address stays good when the cloud starts again."""


@dataclass(frozen=True)
class Endpoint:
    """A socket that listens, and what a browser needs to get in.

    Attributes:
        listener: the socket.
        host: as it was given.
        port: the socket's.
    """

    listener: socket.socket
    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    def url(self, token: str) -> str:
        """Return the page's address, with the token where there is one."""
        host = socket.gethostname() if self.host in ("0.0.0.0", "::") else self.host
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}/" + (f"?token={token}" if token else "")


def listen(address: str) -> Endpoint:
    """Listen for browsers at an address, host:port; port 0 lets the kernel choose.

    Raises:
        ConfigError: if it is no address, or none of this machine's, or for root alone.
        RunFailed: if another program has the port.
    """
    try:
        host, port = split(address)
    except ValueError as error:
        raise ConfigError(f"--page {address}", str(error)) from None
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise RunFailed(
                f"--page {address}: another program uses the port",
                "Give another port, or port 0 for any that is free.",
            ) from None
        raise ConfigError(f"--page {address}", f"cannot listen there: {reason}") from None
    return Endpoint(listener, host, listener.getsockname()[1])


def token_for(endpoint: Endpoint, folder: Path, always: bool = False) -> str:
    """Return the token that a browser needs; "": none, because only this machine can reach it.

    Args:
        endpoint: where the page is served.
        folder: the run folder.
        always: whether it needs one on this machine, too.

    Raises:
        RunFailed: if the run folder cannot be written to.
    """
    if endpoint.is_loopback and not always:
        return ""
    file = folder / TOKEN_FILE
    try:
        with suppress(FileNotFoundError):
            if held := file.read_text(encoding="ascii", errors="replace").strip():
                return held
        token = secrets.token_urlsafe(24)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(handle, "w", encoding="ascii") as out:
            out.write(token + "\n")
    except OSError as error:
        raise RunFailed(f"cannot write {file}: {error.strerror}") from None
    return token


def is_right(given: str, token: str) -> bool:
    """Compare tokens in a time that does not depend on where they differ."""
    return hmac.compare_digest(given.encode(), token.encode())
