"""A topology with a Flower app, as a person reads it."""

from __future__ import annotations

from deploy.stock_app.app import app_of
from hierfl.config import Config
from hierfl.units import plural


def described(config: Config) -> str:
    """Return the app, what runs where, and the tree.

    Raises:
        ConfigError: the app cannot be read here.
    """
    app, chosen = app_of(config), config.app
    assert chosen is not None
    strategy = chosen.edge_strategy or "FedAvg"
    lines = [
        f"{app.folder}",
        f"  cloud at {config.cloud.address}: {app.server}",
        f"  edges: {strategy}, {plural(chosen.edge_rounds, 'round')} per round of the cloud",
        f"  devices: {app.client}",
    ]
    for edge in config.edges:
        lines.append(f"{edge.name} at {edge.address}: {', '.join(edge.devices)}")
    if app.run_config:
        lines.append("run config:")
        lines += [f"  {key} = {value!r}" for key, value in app.run_config.items()]
    return "\n".join(lines)
