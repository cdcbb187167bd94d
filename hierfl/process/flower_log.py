"""How much Flower logs in this process."""

from __future__ import annotations

import logging


def quiet_flower() -> None:
    """Let Flower log warnings and errors only."""
    import flwr.app  # noqa: F401  (the import sets the level of its logger)

    logging.getLogger("flwr").setLevel(logging.WARNING)
