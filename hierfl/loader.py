"""The user's own models, data sets and algorithms, named as `module:attribute`."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from hierfl.errors import ConfigError

PACKAGES = ("clients", "cloud", "deploy", "edge", "hierfl")
"""The top-level packages of this distribution."""

_FOLDERS: list[Path] = []


def look_in(folder: Path) -> None:
    """Look for modules in a folder too, before the current one: the folder of a topology."""
    if folder in _FOLDERS:
        _FOLDERS.remove(folder)
    _FOLDERS.insert(0, folder)


def folders() -> list[Path]:
    """Return where the user's own modules are looked for: topologies' folders, the current one."""
    return [*dict.fromkeys([*_FOLDERS, Path.cwd()])]


def load(reference: str, what: str, folder: Path | None = None) -> Any:
    """The object that `reference` names, e.g. `my_package.nets:build`.

    The attribute may be dotted (`my_package.algo:Family.signed`). Modules are looked for in the
    topology's folder and in the current one, after everything else: what lies there never hides
    hierfl's own packages, nor any other that is installed. An app's folder comes first, as Flower
    has it.

    Args:
        reference: `module:attribute`.
        what: the configuration key that holds it, for error texts.
        folder: an app's folder; None: there is none, and those of `folders` are meant.

    Raises:
        ConfigError: the reference has no colon, the module or the attribute cannot be had, or the
            user's module has the name of another.
    """
    module_name, colon, attribute = reference.partition(":")
    places = [folder] if folder else folders()
    if not (colon and module_name and attribute):
        raise ConfigError(
            what,
            f"expected module:attribute, got {reference!r}",
            f"For example my_package.nets:build, with my_package in "
            f"{folder or 'the current directory'} or installed.",
        )
    for place in places:
        _make_importable(place, first=folder is not None)
    found: Any = _import(module_name, reference, what, places)
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ConfigError(
                what,
                f"{module_name}{_whose(module_name)} has no attribute {attribute!r} "
                f"(in {reference!r})",
                _nearest(part, found),
            ) from None
    return found


def own(reference: str) -> Any:
    """The object `module:attribute` of this distribution, which the caller may not import.

    Commands and programs start roles, which import hierfl: a reference breaks the circle.
    """
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _import(name: str, reference: str, what: str, places: list[Path]) -> ModuleType:
    _refuse_hidden(name, what, places)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise ConfigError(
                what,
                f"there is no module named {error.name!r} (in {reference!r})",
                f"Modules are looked for in {', '.join(map(str, places))} and among the installed "
                "packages.",
            ) from None
        raise _broken(name, reference, what, error) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _broken(name, reference, what, error) from error


def _make_importable(folder: Path, *, first: bool) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0 if first else len(sys.path), str(folder))
        importlib.invalidate_caches()


def _refuse_hidden(name: str, what: str, places: list[Path]) -> None:
    """Raise ConfigError if the user's module is there, but another has its name."""
    paths = [place.joinpath(*name.split(".")) for place in places]
    own = [f for p in paths for f in (Path(f"{p}.py"), p / "__init__.py") if f.is_file()]
    first = name.partition(".")[0]
    if not own:
        return
    root = own[0].parents[name.count(".") + (own[0].name == "__init__.py")]
    if not any(place.parent.resolve() == root.resolve() for place in _places(first)):
        raise ConfigError(
            what,
            f"{own[0]} is hidden by another module {first}{_whose(name)}",
            f"Rename yours, or put it into a package: my_package.{name}:...",
        )


def _whose(name: str) -> str:
    """Return what to say of a module that is hierfl's own, or of a package."""
    return ", hierfl's own," if name.partition(".")[0] in PACKAGES else ""


def _places(name: str) -> list[Path]:
    """Return the files or folders of the module or package that a top-level name stands for."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # it is being imported, or has no spec
        return []
    if spec is None:
        return []
    places = list(spec.submodule_search_locations or ())
    if spec.origin is not None and spec.has_location:  # a built-in module has none
        places = places or [spec.origin]
    return [Path(place) for place in places]


def _broken(name: str, reference: str, what: str, error: BaseException) -> ConfigError:
    """Return the error for a module whose own code fails, with the place."""
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
