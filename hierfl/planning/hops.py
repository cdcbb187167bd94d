"""The codecs of the hops of a configuration, and what goes with which algorithm."""

from __future__ import annotations

from hierfl.algorithms.base import Algorithm
from hierfl.codecs import CODECS, AnyCodec, make_codec
from hierfl.config import Hop
from hierfl.errors import ConfigError
from hierfl.numerics.layout import Layout

TALLY = "tally"


def make_downlink(hop: Hop, layout: Layout) -> AnyCodec:
    """Return the downlink's codec, of which the cloud keeps a residual.

    Raises:
        ConfigError: there is no such codec, it has no such parameter, or the residual would grow.
    """
    codec = _make(hop, "downlink", layout)
    _check_contraction(codec, hop, "downlink")
    return codec


def make_uplink(
    hop: Hop, algorithm: str, chosen: type[Algorithm], layout: Layout
) -> AnyCodec | None:
    """Return the codec of an algorithm's reports, or None where it is the algorithm's own.

    Raises:
        ConfigError: there is no such codec, it has no such parameter, or the algorithm cannot
            report with it.
    """
    parameters = [key for key in ("bits", "fraction") if getattr(hop, key) is not None]
    if hop.codec == chosen.uplink and not parameters:
        return None
    assert hop.codec is not None, "the configuration is not resolved"
    if hop.codec == TALLY == chosen.uplink:
        raise ConfigError(f"uplink.{parameters[0]}", "a tally has no such parameter")
    if hop.codec == TALLY:
        raise _cannot_report(algorithm, chosen, hop, "it sends no counts of votes, as a tally does")
    if ":" not in hop.codec and hop.codec not in CODECS:
        raise _cannot_report(algorithm, chosen, hop, "there is no such codec")
    if chosen.uplink_kind == TALLY:
        why = "its reports are counts of votes, which a tally sends exactly and in few bits"
        raise _cannot_report(algorithm, chosen, hop, why)
    codec = _make(hop, "uplink", layout)
    if chosen.uplink_kind == "contraction":
        _check_contraction(codec, hop, "uplink")
    elif not codec.unbiased:
        why = "its edges keep no residual, and this codec is biased"
        raise _cannot_report(algorithm, chosen, hop, why)
    return codec


def _cannot_report(algorithm: str, chosen: type[Algorithm], hop: Hop, why: str) -> ConfigError:
    able: str = TALLY
    if chosen.uplink_kind != TALLY:
        any_will_do = chosen.uplink_kind == "contraction"
        names = [name for name, codec in CODECS.items() if any_will_do or codec.unbiased]
        able = f"{', '.join(names)}, or such a codec of your own"
    return ConfigError(
        "uplink.codec", f"{algorithm} cannot report with {hop.codec!r}: {why}", f"It takes {able}."
    )


def _check_contraction(codec: AnyCodec, hop: Hop, section: str) -> None:
    if codec.contracts:
        return
    hint = "Take the codec ternary, of 1.6 bits, or another one that contracts."
    key, given = "codec", codec.name
    if hop.bits is not None:
        key, given = "bits", f"{codec.name} with {hop.bits} bits"
        hint = f"Give it more bits. {hint}"
    raise ConfigError(
        f"{section}.{key}",
        f"what {given} leaves out can be as large as what it is given, and the residual that is "
        "kept on this hop would grow",
        hint,
    )


def _make(hop: Hop, section: str, layout: Layout) -> AnyCodec:
    given = {"bits": hop.bits, "fraction": hop.fraction}
    parameters = {key: value for key, value in given.items() if value is not None}
    assert hop.codec is not None, "the configuration is not resolved"
    try:
        return make_codec(hop.codec, layout, **parameters)
    except ConfigError as error:
        message = error.message.removeprefix(f"{error.path}: ")
        raise ConfigError(f"{section}.{error.path}", message, error.hint) from None
