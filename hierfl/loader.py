"""The user's own models, data sets and algorithms, named as `module:attribute`."""

from __future__ import annotations

import difflib
import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from hierfl.errors import ConfigError


def load(reference: str, what: str, folder: Path | None = None) -> Any:
    """The object that `reference` names, e.g. `my_package.nets:build`.

    The folder is importable from then on, as the current directory is for uvicorn and gunicorn. The
    attribute may be dotted (`my_package.algo:Family.signed`).

    Args:
        reference: `module:attribute`.
        what: the configuration key that holds it, for error texts.
        folder: where modules are looked for first; None: the current directory.

    Raises:
        ConfigError: the reference has no colon, or the module or the attribute cannot be had.
    """
    module_name, colon, attribute = reference.partition(":")
    if not (colon and module_name and attribute):
        raise ConfigError(
            what,
            f"expected module:attribute, got {reference!r}",
            f"For example my_package.nets:build, with my_package in "
            f"{folder or 'the current directory'} or installed.",
        )
    module = _import(module_name, reference, what, str(folder or Path.cwd()))
    found: Any = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ConfigError(
                what,
                f"{module_name} has no attribute {attribute!r} (in {reference!r})",
                _nearest(part, found),
            ) from None
    return found


def _import(name: str, reference: str, what: str, here: str) -> ModuleType:
    if here not in sys.path:
        sys.path.insert(0, here)
        importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise ConfigError(
                what,
                f"there is no module named {error.name!r} (in {reference!r})",
                f"Modules are looked for in {here} and among the installed packages.",
            ) from None
        raise _broken(name, reference, what, error) from error
    except Exception as error:
        raise _broken(name, reference, what, error) from error


def _broken(name: str, reference: str, what: str, error: Exception) -> ConfigError:
    """The module is there but its own code fails: show where and how."""
    said = "".join(traceback.format_exception_only(error)).strip()
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and "importlib" not in frame.filename
    ]
    where = f'\n  File "{frames[-1].filename}", line {frames[-1].lineno}' if frames else ""
    return ConfigError(
        what,
        f"importing {name} failed (for {reference!r}):{where}\n  {said}",
        f'To see the whole of it: python -c "import {name}"',
    )


def _nearest(name: str, owner: object) -> str | None:
    public = [known for known in dir(owner) if not known.startswith("_")]
    close = difflib.get_close_matches(name, public, n=1)
    return f"Did you mean {close[0]!r}?" if close else None
