"""Which versions of Flower hierfl works with."""

from __future__ import annotations

from importlib.metadata import version

from hierfl.errors import ConfigError

OLDEST, NEWER = (1, 41), (1, 43)
"""From the first, and before the second: those that the tests saw. pyproject says the same."""


def check_flower() -> None:
    """See that a Flower is installed whose private names are where `flower` looks for them.

    Raises:
        ConfigError: it is another one.
    """
    found = version("flwr")
    if not OLDEST <= tuple(int(part) for part in found.split(".")[:2]) < NEWER:
        wanted = f"flwr>={OLDEST[0]}.{OLDEST[1]},<{NEWER[0]}.{NEWER[1]}"
        raise ConfigError(
            "", f"Flower {found} is installed, and hierfl needs {wanted}", f"pip install '{wanted}'"
        )
