"""A topology built in Python: the keys, the checks and the errors of the YAML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hierfl.config import Config
from hierfl.config.read import make_config, read_tree, set_keys
from hierfl.errors import ConfigError


class Topology:
    """A whole federation.

    Args:
        path: a topology file, whose keys the others replace; None: there is none.
        sets: `key=value` texts, as for `--set`.
        keys: the keys of a topology file, as YAML would read them: mappings, lists and scalars.
            Without `path` and `edges`, it is the default federation: 2 edges with 3 devices each.

    Attributes:
        config: the checked configuration.

    Raises:
        ConfigError: if keys or values are wrong; it names all of them.

    >>> tree = Topology(edges=[{"name": "east", "devices": 2}], algorithm={"rounds": 5})
    >>> tree
    Topology(demo: hier-signsgd with cnn, 1 edge and 2 devices, 5 rounds)
    >>> tree.replace("algorithm.name=ef-lion").config.algorithm.name
    'ef-lion'
    """

    def __init__(
        self, path: Path | str | None = None, *, sets: Sequence[str] = (), **keys: Any
    ) -> None:
        self._tree = {**read_tree(Path(path) if path is not None else None), **_plain(keys)}
        if path is not None:
            folder = (Path(path).parent / str(self._tree.get("folder") or ".")).resolve()
            if folder != Path.cwd():
                self._tree["folder"] = str(folder)
        given = set_keys(self._tree, sets)
        self.config = make_config(self._tree, None if path is None else str(path), given)

    def replace(self, *sets: str) -> Topology:
        """Return a topology with some keys replaced.

        Args:
            sets: `key=value` texts, as for `--set`.

        Raises:
            ConfigError: if keys or values are wrong.
        """
        return Topology(sets=sets, **self._tree)

    def to_yaml(self) -> str:
        """Return the topology as YAML with every key."""
        return self.config.to_yaml()

    def save(self, path: Path | str) -> None:
        """Write the topology file.

        Raises:
            ConfigError: if it cannot be written.
        """
        try:
            Path(path).write_text(self.to_yaml(), encoding="utf-8")
        except OSError as error:
            raise ConfigError(str(path), f"cannot be written: {error.strerror}") from None

    def __repr__(self) -> str:
        return f"Topology({describe(self.config)})"


def describe(config: Config) -> str:
    """Return a federation in one line."""
    from hierfl.units import plural

    tree, settings = config.tree(), config.algorithm
    edges, devices = plural(len(tree), "edge"), plural(sum(map(len, tree.values())), "device")
    return (
        f"{config.name}: {settings.name} with {config.model_name}, {edges} and {devices}, "
        f"{plural(settings.rounds, 'round')}"
    )


def as_topology(given: Topology | Mapping[str, Any] | Path | str | None) -> Topology:
    """Return a topology, from one, from its keys, from a file, or the default federation.

    Raises:
        ConfigError: if keys or values are wrong.
    """
    if isinstance(given, Topology):
        return given
    return Topology(**given) if isinstance(given, Mapping) else Topology(given)


def _plain(value: Any) -> Any:
    """Return what YAML could hold: paths as text, tuples as lists."""
    match value:
        case Path():
            return str(value)
        case Mapping():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
    return value
