"""Certificates, clocks, and whether a parent would let a node in."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from cryptography.x509 import Certificate, load_der_x509_certificate, load_pem_x509_certificate

from deploy.doctor.finding import Finding, failure, ok, warning
from deploy.doctor.network import REACH_S, way
from hierfl.config import Config
from hierfl.config.addresses import split
from hierfl.config.digest import digest
from hierfl.errors import ConfigError, LinkError
from hierfl.link import frames
from hierfl.link import link_pb2 as pb
from hierfl.link.probe import Verdict, ask
from hierfl.tls.identity import Identity, common_name
from hierfl.tls.policy import identity
from hierfl.tls.x509 import EARLY

SOON = timedelta(days=30)
"""A certificate that ends within this time is warned of."""

ASTRAY_S = 10.0
"""Clocks that differ by more are warned of: the nodes' logs cannot be laid side by side."""


def certificate(config: Config, node: str) -> Finding:
    """See whether a node's certificate can serve."""
    what = f"TLS of {node}"
    try:
        mine = identity(config, node)
    except ConfigError as error:
        return failure(what, f"{error.message}.", error.hint or "")
    if mine is None:
        return ok(what, "none: the topology says plain text")
    ends = load_pem_x509_certificate(mine.certificate).not_valid_after_utc
    if ends - datetime.now(UTC) < SOON:
        return warning(
            what,
            f"the certificate ends on {ends:%Y-%m-%d}.",
            "Renew it in time: `hierfl certs TOPOLOGY --out DIR --renew`, then copy it here.",
        )
    return ok(what, f"the certificate is valid until {ends:%Y-%m-%d}")


def welcome(
    config: Config, node: str, parent: str, key: str, address: str, model: str = ""
) -> Iterator[Finding]:
    """See whether a parent is there, what it would say to a node, and whether the clocks agree.

    A parent that answers is asked over one connection, which it does not count as a fault; only
    where it does not is it looked at more closely.

    Args:
        config: with security.certs that can serve the node, if it has them.
        node: its name.
        parent: the parent's name.
        key: of the parent's address in the topology.
        address: the parent's.
        model: the fingerprint of the node's model, "" if it holds none.
    """
    mine = identity(config, node)
    hello = frames.hello(node, run="", model=model, plan=digest(config).to_text())
    try:
        verdict = ask(address, hello, 2 * REACH_S, mine.towards(parent) if mine else None)
    except LinkError as error:
        reached = way(parent, key, address)
        yield reached
        if reached.grade == "ok":
            yield failure(f"{parent}'s word", f"{error}.", _stranger(mine, address))
        yield alone(config, node)
        return
    yield ok(f"to {parent}", f"{address} answers")
    yield _word(node, parent, verdict)
    yield clocks(parent, verdict, certified=mine is not None)


def _word(node: str, parent: str, verdict: Verdict) -> Finding:
    what = f"{parent}'s word"
    match verdict.code:
        case pb.Goodbye.UNSPECIFIED:
            return ok(what, f"{node} is welcome")
        case pb.Goodbye.BUSY:
            return ok(what, f"{verdict.reason}: it runs")
    return failure(
        what,
        f"{node} would be refused: {verdict.reason}.",
        "Give both machines the same topology file, hierfl and code.",
    )


def clocks(parent: str, verdict: Verdict, certified: bool) -> Finding:
    """Judge the difference between this machine's clock and the parent's."""
    ahead, unsure = verdict.ahead, verdict.unsure
    text = f"is {abs(ahead):.1f} s {'behind' if ahead > 0 else 'ahead of'} that of {parent}"
    if abs(ahead) - unsure <= ASTRAY_S:
        return ok("clock", f"{text} (give or take {unsure:.1f} s)")
    remedy = "Switch network time on, on both (`timedatectl set-ntp true`)."
    if certified and abs(ahead) - unsure > EARLY.total_seconds():
        allowed = f"{EARLY.total_seconds() / 60:.0f} minutes"
        return failure("clock", f"{text}: certificates allow for {allowed}.", remedy)
    return warning("clock", f"{text}: logs cannot be compared.", remedy)


def alone(config: Config, node: str) -> Finding:
    """Say what a node's clock says where there is nobody to compare it with.

    A node whose clock is behind its certificate's first day has a certificate that cannot serve.
    """
    now, mine = datetime.now(UTC), identity(config, node)
    text = f"says {now:%Y-%m-%d %H:%M:%S} UTC, compared with no other"
    if mine is not None:
        made = load_pem_x509_certificate(mine.certificate).not_valid_before_utc + EARLY
        text += f", {(now - made).days} days after the certificate was made"
    return ok("clock", text)


# -- who answers, if it is not the parent ----------------------------------------------------------


def _stranger(mine: Identity | None, address: str) -> str:
    """Return what to do about a parent that does not answer as it should."""
    if mine is None:
        return "Is it a hierfl node, of this version, and security.certs set at both or neither?"
    shown = _shown(mine, address)
    if shown is None:
        return "Set security.certs at both, and see that it is a hierfl node of this version."
    authority = load_pem_x509_certificate(mine.ca)
    of = "of this CA" if shown.issuer == authority.subject and _signed(shown, authority) else (
        "of another CA"
    )  # fmt: skip
    starts, ends = shown.not_valid_before_utc, shown.not_valid_after_utc
    return (
        f"It shows the certificate of {common_name(shown)!r}, {of}, valid from {starts:%Y-%m-%d} "
        f"to {ends:%Y-%m-%d}. Correct the address, or make and copy certificates anew: all from "
        "one `hierfl certs TOPOLOGY --out DIR`."
    )


def _signed(shown: Certificate, authority: Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        shown.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _shown(mine: Identity, address: str) -> Certificate | None:
    """Return the certificate that whoever listens at an address shows; None if it shows none."""
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
