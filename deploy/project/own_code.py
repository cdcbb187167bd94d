"""The user's own modules that a topology names, to be brought to the machines that import them.

A module brings what it imports from beside it; a package comes whole. What is installed among
other packages stays: it must be installed on the machines, too.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from sys import stdlib_module_names

from deploy.stock_app.app import read_app
from hierfl.config import Config
from hierfl.config.types import name_of
from hierfl.errors import ConfigError
from hierfl.loader import PACKAGES, folders

MOST_BYTES = 32 << 20
"""More than that is data, which nodes have in `data.root`."""

_INSTALLED = {"site-packages", "dist-packages"}
_PATH = re.compile(r"[A-Za-z0-9._+/-]+")


@dataclass(frozen=True)
class OwnCode:
    """Modules and packages, and what else they need.

    Attributes:
        root: the folder from which they are imported.
        sources: files of modules and folders of packages, relative to it, sorted.
        requirements: the packages that the pyproject.toml beside them depends on, but hierfl.
    """

    root: Path
    sources: tuple[Path, ...] = ()
    requirements: tuple[str, ...] = ()

    def files(self) -> Mapping[str, bytes]:
        """Return the contents of all files, by their paths relative to the root.

        Raises:
            ConfigError: they are too large, a name is odd, or a file cannot be read.
        """
        found: dict[str, bytes] = {}
        for source in self.sources:
            for file in _files(self.root / source):
                path = file.relative_to(self.root).as_posix()
                if _PATH.fullmatch(path) is None:
                    raise ConfigError(str(file), "its name has other characters than a-z 0-9 ._+-")
                found[path] = _read(file)
        if sum(map(len, found.values())) > MOST_BYTES:
            largest = max(found, key=lambda path: len(found[path]))
            raise ConfigError(
                str(self.root / largest),
                "a package of this size is not brought along with its topology",
                "Keep data outside of the package: data.root names their folder at each node.",
            )
        return found


def own_code(config: Config) -> OwnCode:
    """Return the user's own modules that a configuration names, with what they import.

    Of a Flower app it is the app's folder.

    Raises:
        ConfigError: a module is not there, or is no Python.
    """
    if config.app is not None:  # it comes whole
        app = read_app(config.app.path, []).folder
        return OwnCode(app.parent, (Path(app.name),), _requirements(app))
    named = dict(_references(config))
    roots = {module: _root(module, key) for module, key in named.items()}
    own = {root for root in roots.values() if root is not None}
    if len(own) > 1:
        folders = " and ".join(map(str, sorted(own)))
        raise ConfigError("", f"its own modules are in several folders: {folders}")
    if not own:
        return OwnCode(Path.cwd())
    (root,) = own
    sources = _with_imports(root, [module for module, of in roots.items() if of is not None])
    return OwnCode(root, tuple(sorted(sources)), _requirements(root))


def _references(config: Config) -> Iterator[tuple[str, str]]:
    """Yield the modules that a configuration names, each with its key."""
    places = {
        "task": config.task,
        "model": name_of(config.model),
        "data.dataset": config.data.dataset.name,
        "algorithm.name": config.algorithm.name,
        "downlink.codec": config.downlink.codec,
        "uplink.codec": config.uplink.codec,
    }
    for key, reference in places.items():
        module, colon, _ = (reference or "").partition(":")
        if colon and module.partition(".")[0] not in PACKAGES:
            yield module, key


def _root(module: str, key: str) -> Path | None:
    """Return the folder from which a module is imported; None: it is installed."""
    first = module.partition(".")[0]
    for folder in folders():
        if _sources(folder, module):
            return folder
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise ConfigError(
            key,
            f"there is no module named {module!r} in {' or '.join(map(str, folders()))}",
            "It belongs beside the topology.",
        )
    places = [*(spec.submodule_search_locations or ())] or [spec.origin or ""]
    place = Path(places[0])
    return None if _INSTALLED & {*place.parts} else place.parent


def _with_imports(root: Path, modules: list[str]) -> set[Path]:
    """Return the sources of modules, and of all that these import from the same folder.

    The folder comes last on the path, so what has the name of a standard module is not meant.
    """
    sources: set[Path] = set()
    todo, seen = [*modules], set(modules)
    while todo:
        for source in _sources(root, todo.pop()) - sources:
            sources.add(source)
            for file in _files(root / source):
                if file.suffix == ".py":
                    found = {*_imports(file, file.relative_to(root).parts[:-1])} - seen
                    seen |= found
                    todo += [m for m in found if m.partition(".")[0] not in stdlib_module_names]
    return sources


def _sources(root: Path, module: str) -> set[Path]:
    """Return the package or the file of a module; nothing if it is not in the folder.

    A package comes with all that is in it, a folder without __init__.py with the module alone.
    """
    path = Path()
    for part in module.split("."):
        path /= part
        if (root / path / "__init__.py").is_file():
            return {path}
        if (file := path.with_name(f"{part}.py")) and (root / file).is_file():
            return {file}
    return set()


def _imports(file: Path, package: tuple[str, ...]) -> Iterator[str]:
    """Yield the modules that a file imports, anywhere in it."""
    try:
        tree = ast.parse(_read(file), str(file))
    except SyntaxError as error:
        raise ConfigError(f"{file}:{error.lineno}", f"is no Python: {error.msg}") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _files(source: Path) -> list[Path]:
    """Return a module's file, or all files of a package."""
    if source.is_file():
        return [source]
    return sorted(
        file
        for file in source.rglob("*")
        if file.is_file()
        and file.suffix != ".pyc"
        and not any(part.startswith(".") for part in file.relative_to(source).parts)
    )


def _requirements(root: Path) -> tuple[str, ...]:
    """Return what the project depends on: its pyproject.toml is beside the code, or above src."""
    for folder in (root, root.parent) if root.name == "src" else (root,):
        file = folder / "pyproject.toml"
        if not file.is_file():
            continue
        try:
            project = tomllib.loads(_read(file).decode()).get("project", {})
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(str(file), f"is no TOML: {error}") from None
        if project.get("name") == "hierfl":
            return ()
        needed = map(str, project.get("dependencies", ()))
        return tuple(text for text in needed if re.match(r"hierfl\b", text) is None)
    return ()


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(str(file), f"cannot be read: {error.strerror}") from None
