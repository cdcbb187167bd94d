"""Calling the user's own functions, named `module:attribute` in a topology file."""

from __future__ import annotations

import inspect
from typing import Any

from hierfl.errors import ConfigError
from hierfl.learning.torch_compat import declare_operators
from hierfl.loader import load


def is_own(name: str) -> bool:
    """Whether a name refers to the user's code and not to something built in."""
    return ":" in name


def call_own(reference: str, key: str, **offered: Any) -> Any:
    """Call the function at `reference` with those of the offered arguments that it names.

    Args:
        reference: `module:attribute`.
        key: the configuration key that holds the reference, for errors.
        offered: what the function may ask for; one that takes `**kwargs` gets everything.

    Raises:
        ConfigError: there is no such function, or it requires an argument that is not offered.
    """
    declare_operators()
    function = load(reference, key)
    if not callable(function):
        raise ConfigError(key, f"{reference} is a {type(function).__name__}, not a function")
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return function(**offered)
    for parameter in parameters:
        required = parameter.default is parameter.empty and parameter.kind is not (
            parameter.VAR_POSITIONAL
        )
        by_name = parameter.kind is not parameter.POSITIONAL_ONLY and parameter.name in offered
        if required and not by_name:
            raise ConfigError(
                key,
                f"{reference} requires the argument {parameter.name!r}, which hierfl does not have",
                f"it may take any of: {', '.join(offered)}",
            )
    return function(**{p.name: offered[p.name] for p in parameters if p.name in offered})
