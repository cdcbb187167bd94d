"""How a name in a topology finds a codec: one of hierfl's, or `module:attribute` for your own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import numpy as np

from hierfl.codecs.base import AnyCodec, PayloadSizes, RandomizedCodec, encode
from hierfl.codecs.drive import Drive
from hierfl.codecs.factored_sign import FactoredSign
from hierfl.codecs.float32 import Float32
from hierfl.codecs.qsgd import Qsgd
from hierfl.codecs.randomk import RandomK
from hierfl.codecs.rounding import Rounding
from hierfl.codecs.sign import Sign
from hierfl.codecs.ternary import Ternary
from hierfl.codecs.topk import TopK
from hierfl.codecs.topk2bit import TopKTwoBit
from hierfl.codecs.topksign import TopKSign
from hierfl.errors import ConfigError
from hierfl.loader import load
from hierfl.numerics.layout import Layout

BuiltIn = (
    type[Float32]
    | type[Sign]
    | type[FactoredSign]
    | type[Drive]
    | type[Ternary]
    | type[Qsgd]
    | type[Rounding]
    | type[TopK]
    | type[TopKSign]
    | type[TopKTwoBit]
    | type[RandomK]
)
CODECS: dict[str, BuiltIn] = {
    codec.name: codec
    for codec in (
        Float32,
        Sign,
        FactoredSign,
        Drive,
        Ternary,
        Qsgd,
        Rounding,
        TopK,
        TopKSign,
        TopKTwoBit,
        RandomK,
    )
}

METHODS = ("encode", "decode", "sizes")
FACTS = {"name": str, "contracts": bool, "unbiased": bool}
"""What a codec must have; see `Codec`."""

HINT = (
    "A codec has name, contracts, unbiased, encode(x), decode(payload) and sizes(); see "
    "hierfl.Codec, and hierfl.RandomizedCodec for one whose encoder draws."
)


def make_codec(name: str, layout: Layout, **params: int | float) -> AnyCodec:
    """Return the codec called `name` for vectors of `layout`.

    Args:
        name: one of `CODECS`, or the `module:attribute` of what makes a codec of your own.
        layout: of the vectors.
        params: the codec's own parameters.

    Raises:
        ConfigError: there is no such codec, or it lacks something ("codec"); an unknown parameter
            or a bad value (the parameter's name).

    >>> make_codec("qsgd", Layout(("w",), ((1000,),)), bits=4).sizes()
    PayloadSizes(least=508, most=508)
    """
    if ":" not in name:
        factory: Callable[..., AnyCodec] = _built_in(name)
        _check_parameters(name, factory, params)
        return factory(layout, **params)
    factory = load(name, "codec")
    if not callable(factory):
        raise ConfigError("codec", f"{name} is no class of a codec", HINT)
    if isinstance(factory, type):
        _check_methods(name, factory)
    _check_parameters(name, factory, params)
    codec = factory(layout, **params)
    _check(name, codec)
    return codec


def _built_in(name: str) -> BuiltIn:
    if name not in CODECS:
        raise ConfigError(
            "codec",
            f"unknown codec {name!r}",
            f"{_suggest(name, list(CODECS))}; your own is named as my_package.codecs:Mine",
        )
    return CODECS[name]


def _check_parameters(name: str, factory: Callable[..., Any], params: dict[str, Any]) -> None:
    known = list(inspect.signature(factory).parameters)[1:]
    for key in params:
        if key not in known:
            raise ConfigError(key, f"codec {name!r} has no such parameter", _suggest(key, known))


def _check_methods(name: str, owner: object) -> None:
    abstract: frozenset[str] = getattr(owner, "__abstractmethods__", frozenset())
    missing = [
        method
        for method in METHODS
        if method in abstract or not callable(getattr(owner, method, None))
    ]
    if missing:
        raise ConfigError("codec", f"{name} has no {' and no '.join(missing)}", HINT)


def _check(name: str, codec: object) -> None:
    """See that what somebody else's code has made is a codec.

    Raises:
        ConfigError: it lacks something, or has it of another type; all that is missing is named.
    """
    _check_methods(name, codec)
    if missing := [fact for fact in FACTS if not hasattr(codec, fact)]:
        raise ConfigError("codec", f"{name} has no {' and no '.join(missing)}", HINT)
    for fact, kind in FACTS.items():
        if not isinstance(value := getattr(codec, fact), kind):
            raise ConfigError(
                "codec", f"{name} has a {fact} of {value!r}, which is no {kind.__name__}", HINT
            )
    _check_encode(name, codec)
    sizes = codec.sizes()  # type: ignore[attr-defined]
    if not (isinstance(sizes, PayloadSizes) and 0 <= sizes.least <= sizes.most):
        raise ConfigError(
            "codec",
            f"{name} has sizes() that returned {sizes!r}",
            "It should return a hierfl.PayloadSizes(least, most), in bytes.",
        )


def _check_encode(name: str, codec: object) -> None:
    draws = isinstance(codec, RandomizedCodec)
    takes = inspect.signature(codec.encode)  # type: ignore[attr-defined]
    try:
        takes.bind(*("x", "generator")[: 1 + draws])
    except TypeError:
        expected = "encode(x, generator)" if draws else "encode(x)"
        raise ConfigError(
            "codec",
            f"{name} has encode{takes}, expected {expected}",
            "A codec whose encoder draws derives from hierfl.RandomizedCodec, any other does not.",
        ) from None


def try_codec(key: str, codec: AnyCodec, layout: Layout) -> None:
    """Encode and decode one vector, and see that the codec keeps its word about sizes and types.

    Args:
        key: the configuration key that names the codec, for error texts.
        codec: the codec.
        layout: of the vectors that it was made for.

    Raises:
        ConfigError: it does not.
    """
    x = np.linspace(-1, 1, layout.d, dtype=np.float32)
    payload: object = encode(codec, x, np.random.default_rng(0))
    if not isinstance(payload, bytes):
        raise ConfigError(key, f"encode returned a {type(payload).__name__}, expected bytes")
    least, most = codec.sizes()
    if not least <= len(payload) <= most:
        raise ConfigError(
            key, f"encode returned {len(payload)} bytes, where sizes() says {least} to {most}"
        )
    again: object = codec.decode(payload)
    expected = f"expected a finite float32[{layout.d}]"
    if not isinstance(again, np.ndarray):
        raise ConfigError(key, f"decode returned a {type(again).__name__}, {expected}")
    if again.dtype != np.float32 or again.shape != x.shape or not np.isfinite(again).all():
        raise ConfigError(key, f"decode returned {again.dtype}{list(again.shape)}, {expected}")


def _suggest(word: str, known: list[str]) -> str:
    near = get_close_matches(word, known, n=1)
    listed = ", ".join(known) or "none"
    return f"did you mean {near[0]!r}? known: {listed}" if near else f"known: {listed}"
