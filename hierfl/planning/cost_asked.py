"""What the options of `hierfl plan` ask."""

from __future__ import annotations

import math

from hierfl.config import Config
from hierfl.config.quantities import bits_per_second, microseconds
from hierfl.errors import ConfigError
from hierfl.planning.cost import Prices, Question, Wire

EXAMPLE_PRICES = "For example: core=0.04,gb=0.08."


def asked(
    config: Config,
    devices: int | None,
    edges: int | None,
    link: str | None,
    edge_link: str | None,
    gradient: str,
    price: str | None,
) -> Question:
    """Return the question; each argument is an option of `hierfl plan`.

    Raises:
        ConfigError: if an option cannot be read, or there are more edges than devices, or it is
            about a Flower app.
    """
    if config.app is not None:
        raise ConfigError("app", "what a Flower app sends is not known before it runs")
    clusters = config.tree()
    number = devices or sum(map(len, clusters.values()))
    if devices is None and edges is None:
        edges = len(clusters)
    if edges is not None and edges > number:
        raise ConfigError("--edges", f"{edges:,} edges for {number:,} devices")
    try:
        seconds = microseconds(gradient) / 1e6
    except ValueError as error:
        raise ConfigError("--gradient", f"{gradient}: {error}") from None
    return Question(
        number,
        edges,
        read_wire(link, "--link") if link else Wire(),
        read_wire(edge_link, "--edge-link") if edge_link else Wire(),
        seconds,
        read_prices(price, "--price") if price else None,
    )


def read_wire(text: str, option: str) -> Wire:
    """Return a link from `up=RATE,down=RATE,rtt=DELAY`, any of them.

    Raises:
        ConfigError: if it is something else.
    """
    given = _pairs(text, option, ("up", "down", "rtt"))
    try:
        rates = {key: float(bits_per_second(given[key])) for key in ("up", "down") if key in given}
        rtt = microseconds(given["rtt"]) / 1e6 if "rtt" in given else 0.0
    except ValueError as error:
        raise ConfigError(option, f"{text}: a value {error}") from None
    return Wire(**rates, rtt=rtt)


def read_prices(text: str, option: str) -> Prices:
    """Return prices from `core=PRICE,gb=PRICE`.

    Raises:
        ConfigError: if it is something else.
    """
    given = _pairs(text, option, ("core", "gb"))
    try:
        prices = {key: float(given.get(key, "0")) for key in ("core", "gb")}
    except ValueError:
        raise ConfigError(option, f"{text}: a price is a number", EXAMPLE_PRICES) from None
    if not all(0 <= price < math.inf for price in prices.values()):
        raise ConfigError(option, f"{text}: a price is a number, not below 0", EXAMPLE_PRICES)
    return Prices(**prices)


def _pairs(text: str, option: str, known: tuple[str, ...]) -> dict[str, str]:
    """Return `key=value,...` as a mapping.

    Raises:
        ConfigError: if it is something else, or a key is not known or given twice.
    """
    given: dict[str, str] = {}
    for part in text.split(","):
        key, sign, value = (word.strip() for word in part.partition("="))
        if not sign or key not in known or key in given:
            keys = ", ".join(f"{key}=..." for key in known)
            raise ConfigError(option, f"{part!r} in {text!r}", f"It takes, once each: {keys}.")
        given[key] = value
    return given
