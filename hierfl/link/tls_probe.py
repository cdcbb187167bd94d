"""Whether a TLS server listens at an address: a plain-text connection cannot find out."""

from __future__ import annotations

import socket
import ssl

from hierfl.config.addresses import split

REACH_S = 2.0


def speaks_tls(address: str) -> bool:
    """Return whether a TLS server answers at "host:port"; its certificate does not matter."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with socket.create_connection(split(address), REACH_S) as end:
            end.settimeout(REACH_S)
            with context.wrap_socket(end):
                return True
    except ssl.SSLError as error:  # a TLS server's own refusal
        return "ALERT" in (error.reason or "")
    except OSError:
        return False
