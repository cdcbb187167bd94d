"""Calling the user's own code, named `module:attribute` in a topology file."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hierfl.errors import ConfigError, HierflError
from hierfl.learning.torch_compat import declare_operators
from hierfl.loader import load

_NOT_THE_USERS = sys.stdlib_module_names | {
    "hierfl", "clients", "edge", "cloud", "deploy", "numpy", "torch", "torchvision", "PIL",
    "safetensors", "sklearn",
}  # fmt: skip


class UserCodeError(HierflError):
    """The user's own code has failed."""

    exit_code = 2


def is_own(name: str) -> bool:
    """Whether a name refers to the user's code and not to something built in."""
    return ":" in name


def call_own(reference: str, key: str, /, **offered: Any) -> Any:
    """Call the function at `reference` with those of the offered arguments that it names.

    Args:
        reference: `module:attribute`.
        key: the configuration key that holds the reference, for errors.
        offered: what the function may ask for; one that takes `**kwargs` gets everything.

    Raises:
        ConfigError: there is no such function, or it requires an argument that is not offered.
        UserCodeError: the function fails.
    """
    declare_operators()
    function = load(reference, key)
    if not callable(function):
        raise ConfigError(key, f"{reference} is a {type(function).__name__}, not a function")
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        given = offered
    else:
        for parameter in parameters:
            required = parameter.default is parameter.empty and parameter.kind is not (
                parameter.VAR_POSITIONAL
            )
            by_name = parameter.kind is not parameter.POSITIONAL_ONLY and parameter.name in offered
            if required and not by_name:
                raise ConfigError(
                    key,
                    f"{reference} requires the argument {parameter.name!r}, which hierfl does not "
                    "have",
                    f"it may take any of: {', '.join(offered)}",
                )
        given = {p.name: offered[p.name] for p in parameters if p.name in offered}
    with guard(reference):
        try:
            return function(**given)
        except Exception as error:
            if isinstance(error, HierflError) or place_of(error) is not None:
                raise
            raise ConfigError(
                key, f"{reference} cannot be called: {type(error).__name__}: {error}",
                f"It is called with {', '.join(given) or 'nothing'}.",
            ) from error  # fmt: skip


@contextmanager
def guard(what: str) -> Iterator[None]:
    """Turn what the user's own code raises into an error that shows his file and line.

    An exception that has not passed through his code is a defect of hierfl, and goes on as it is.

    Args:
        what: the reference to his code, or a name for it.

    Raises:
        UserCodeError: his code has raised something else than a HierflError.
    """
    try:
        yield
    except (HierflError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # SystemExit too: one step of his must not end a node in silence
        failed = failure(error, what)
        if failed is None:
            raise
        raise failed from error


def failure(error: BaseException, what: str) -> UserCodeError | None:
    """Return the error that shows where the user's own code has failed; None: it has not."""
    place = place_of(error)
    if place is None:
        return None
    said = "".join(traceback.format_exception_only(error)).strip()
    return UserCodeError(f"{what} failed:\n{place}\n  {said}")


def place_of(error: BaseException) -> str | None:
    """Return the last line of the user's own code that an exception has passed, or None."""
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if module not in _NOT_THE_USERS:
            found = frame.f_code, line
    if found is None:
        return None
    code, line = found
    summary = traceback.FrameSummary(code.co_filename, line, code.co_name)
    text = f'  File "{code.co_filename}", line {line}, in {code.co_name}'
    return f"{text}\n    {summary.line}" if summary.line else text
