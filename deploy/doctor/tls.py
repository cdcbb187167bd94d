"""Checks of certificates, clocks, and whether a parent would admit a node."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime

from cryptography.x509 import Certificate, load_der_x509_certificate, load_pem_x509_certificate

from deploy.doctor.finding import Finding, failure, ok, warning
from deploy.doctor.network import REACH_S, way
from hierfl.config import Config
from hierfl.config.addresses import split
from hierfl.config.digest import digest
from hierfl.errors import HierflError, LinkError
from hierfl.link import frames
from hierfl.link import link_pb2 as pb
from hierfl.link.probe import Verdict, ask
from hierfl.tls.identity import Identity, common_name, expiring
from hierfl.tls.policy import identity
from hierfl.tls.x509 import EARLY

ASTRAY_S = 10.0
"""Clocks that differ by more get a warning: the nodes' logs cannot be compared."""


def certificate(config: Config, node: str) -> Finding:
    """Check a node's certificate."""
    what = f"TLS of {node}"
    try:
        mine = identity(config, node)
    except HierflError as error:
        return failure(what, f"{error.message}.", error.hint or "")
    if mine is None:
        return ok(what, "none: the topology allows plain text")
    ends = load_pem_x509_certificate(mine.certificate).not_valid_after_utc
    if soon := expiring(load_pem_x509_certificate(mine.certificate)):
        return warning(
            what,
            f"the certificate {soon}.",
            "Renew it with `hierfl certs TOPOLOGY --out DIR --renew` and copy it here.",
        )
    return ok(what, f"the certificate is valid until {ends:%Y-%m-%d}")


def welcome(
    config: Config, node: str, parent: str, key: str, address: str, model: str = ""
) -> Iterator[Finding]:
    """Check that a parent is up, that it would admit a node, and that the clocks agree.

    A parent that answers is asked over one connection, which it does not count as a fault. Further
    checks are made only if it does not answer.

    Args:
        config: the configuration; its security.certs, if set, must be valid for the node.
        node: its name.
        parent: the parent's name.
        key: the key of the parent's address in the topology.
        address: the parent's address.
        model: the fingerprint of the node's model, "" if it has none.
    """
    mine = identity(config, node)
    hello = frames.hello(node, run="", model=model, plan=digest(config).to_text())
    try:
        verdict = ask(address, hello, 2 * REACH_S, mine.towards(parent) if mine else None)
    except LinkError as error:
        reached = way(parent, key, address)
        yield reached
        if reached.grade == "ok":
            yield failure(f"admission by {parent}", f"{error}.", _stranger(mine, address))
        yield alone(config, node)
        return
    yield ok(f"to {parent}", f"{address} answers")
    yield _word(node, parent, verdict)
    yield clocks(parent, verdict, certified=mine is not None)


def _word(node: str, parent: str, verdict: Verdict) -> Finding:
    what = f"admission by {parent}"
    match verdict.code:
        case pb.Goodbye.UNSPECIFIED:
            return ok(what, f"{node} would be admitted")
        case pb.Goodbye.BUSY:
            return ok(what, f"{verdict.reason}, so it is running")
    return failure(
        what,
        f"{node} would be refused: {verdict.reason}.",
        "Use the same topology file, hierfl version and user code on both machines.",
    )


def clocks(parent: str, verdict: Verdict, certified: bool) -> Finding:
    """Check the difference between this machine's clock and the parent's."""
    ahead, unsure = verdict.ahead, verdict.unsure
    text = f"is {abs(ahead):.1f} s {'behind' if ahead > 0 else 'ahead of'} that of {parent}"
    if abs(ahead) - unsure <= ASTRAY_S:
        return ok("clock", f"{text} (within {unsure:.1f} s)")
    remedy = "Enable network time on both machines (`timedatectl set-ntp true`)."
    if certified and abs(ahead) - unsure > EARLY.total_seconds():
        allowed = f"{EARLY.total_seconds() / 60:.0f} minutes"
        return failure("clock", f"{text}; certificates allow a difference of {allowed}.", remedy)
    return warning("clock", f"{text}; logs cannot be compared.", remedy)


def alone(config: Config, node: str) -> Finding:
    """Report a node's clock where there is no parent to compare it with.

    A clock that is before the start of the certificate's validity is found with the certificate.
    """
    now, mine = datetime.now(UTC), identity(config, node)
    text = f"says {now:%Y-%m-%d %H:%M:%S} UTC; not compared with another clock"
    if mine is not None:
        made = load_pem_x509_certificate(mine.certificate).not_valid_before_utc + EARLY
        text += f", {(now - made).days} days after the certificate was created"
    return ok("clock", text)


# -- the node that answers in place of the parent --------------------------------------------------


def _stranger(mine: Identity | None, address: str) -> str:
    """Return what to do if the node at an address does not answer like the parent."""
    if mine is None:
        return "Run the same hierfl at both, and set security.certs at both or at neither."
    shown = _shown(mine, address)
    if shown is None:
        return "Set security.certs at both, and check that it is a hierfl node of this version."
    authority = load_pem_x509_certificate(mine.ca)
    of = "of this CA" if shown.issuer == authority.subject and _signed(shown, authority) else (
        "of another CA"
    )  # fmt: skip
    starts, ends = shown.not_valid_before_utc, shown.not_valid_after_utc
    return (
        f"It shows the certificate of {common_name(shown)!r}, {of}, valid from {starts:%Y-%m-%d} "
        f"to {ends:%Y-%m-%d}. Correct the address, or copy all certificates from the same DIR of "
        "`hierfl certs TOPOLOGY --out DIR`."
    )


def _signed(shown: Certificate, authority: Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        shown.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _shown(mine: Identity, address: str) -> Certificate | None:
    """Return the certificate that the server at an address shows; None if it shows none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection(split(address), REACH_S) as end,
            context.wrap_socket(end) as secured,
        ):
            data = secured.getpeercert(binary_form=True)
    except OSError:
        return None
    return load_der_x509_certificate(data) if data else None
