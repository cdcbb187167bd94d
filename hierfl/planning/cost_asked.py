"""What the options of `hierfl plan` ask."""

from __future__ import annotations

from hierfl.config import Config
from hierfl.config.quantities import microseconds
from hierfl.errors import ConfigError
from hierfl.planning.cost import Prices, Question, Wire


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
        Wire.read(link, "--link") if link else Wire(),
        Wire.read(edge_link, "--edge-link") if edge_link else Wire(),
        seconds,
        Prices.read(price, "--price") if price else None,
    )
