"""The strategy that an edge runs over its cluster."""

from __future__ import annotations

from pathlib import Path

from flwr.serverapp.strategy import FedAvg, Strategy

from hierfl.errors import ConfigError
from hierfl.loader import load

KEY = "app.edge_strategy"

MINIMA = ("min_train_nodes", "min_evaluate_nodes", "min_available_nodes")


def cluster_strategy(reference: str | None, folder: Path | None, children: int) -> Strategy:
    """Return an edge's strategy: FedAvg, or the user's own.

    Args:
        reference: `module:attribute` of a strategy, or of a class or function that returns one
            when called without arguments; None: FedAvg.
        folder: the app's; None: modules are looked for in the current directory.
        children: how many devices the edge has. Minimum numbers of nodes are lowered to it.

    Raises:
        ConfigError: it cannot be had, or is no strategy that an edge can run.
    """
    strategy = FedAvg() if reference is None else _load(reference, folder)
    for layer in layers(strategy):
        for name in MINIMA:
            if hasattr(layer, name):
                setattr(layer, name, min(getattr(layer, name), children))
    return strategy


def layers(strategy: Strategy) -> list[object]:
    """Return a strategy and those that it wraps, as Flower's for differential privacy do."""
    found: list[object] = []
    layer: object = strategy
    while layer is not None and layer not in found:
        found.append(layer)
        layer = getattr(layer, "strategy", None)
    return found


def _load(reference: str, folder: Path | None) -> Strategy:
    made = load(reference, KEY, folder)
    if not isinstance(made, Strategy):
        if not callable(made):
            raise _no_strategy(reference, made)
        try:
            made = made()
        except Exception as error:
            raise ConfigError(
                KEY,
                f"{reference}() failed: {type(error).__name__}: {error}",
                "It is called without arguments. For a strategy that needs some, name a function\n"
                "of the app's that returns it.",
            ) from error
    if not isinstance(made, Strategy):
        raise _no_strategy(reference, made)
    return made


def _no_strategy(reference: str, made: object) -> ConfigError:
    kind = type(made)
    return ConfigError(
        KEY,
        f"{reference} gives a {kind.__module__}.{kind.__qualname__}, "
        "where a flwr.serverapp.strategy.Strategy is needed",
        "Strategies of flwr.server, Flower's older interface, cannot run at an edge.",
    )
