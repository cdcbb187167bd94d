"""Reads a `Config` from a YAML file and `--set key=value` options."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from hierfl.config.error_report import explain
from hierfl.config.folder import placed
from hierfl.config.schema import Config
from hierfl.config.yaml_dialect import Loader, plain_words
from hierfl.errors import ConfigError

_DEFAULT_EDGES = """
edges:
  - {name: east, address: "127.0.0.1:0", devices: [east-0, east-1, east-2]}
  - {name: west, address: "127.0.0.1:0", devices: 3}
"""


LONGEST = 1 << 22
"""Characters of a topology: more than one with 100,000 devices has."""


def load_config(path: Path | None, sets: Sequence[str] = ()) -> Config:
    """Return the configuration of a file, or the default federation, with some keys replaced.

    Args:
        path: a YAML file; None: the default federation, 2 edges with 3 devices on this machine.
        sets: strings `key=value`. The key is dotted (`data.partition.kind`, `edges.0.address` or
            `edges.east.address`), the value is YAML.

    Raises:
        ConfigError: if the file cannot be read, or keys or values are wrong; it names all of them.
    """
    tree = read_tree(path)
    return make_config(tree, path, set_keys(tree, sets))


def read_tree(path: Path | None) -> dict[str, Any]:
    """Return the keys of a file, or of the default federation, as plain data; see `load_config`.

    Raises:
        ConfigError: if the file cannot be read, or names no edges.
    """
    if path is not None:
        return _read(path)
    tree: dict[str, Any] = _parse(_DEFAULT_EDGES, "the defaults")
    return tree


def set_keys(tree: dict[str, Any], sets: Sequence[str]) -> dict[str, str]:
    """Set `key=value` texts in plain data; return each key that was set, with its text.

    Raises:
        ConfigError: a text is of another form, or names no place in the tree.
    """
    return {_set(tree, text): text for text in sets}


def make_config(
    tree: dict[str, Any], source: Path | str | None = None, given: Mapping[str, str] | None = None
) -> Config:
    """Return the configuration of a tree of plain data.

    Args:
        tree: mappings, lists and scalars, as YAML reads them.
        source: the file that it was read from, where relative paths begin; or a name for errors.
        given: keys that were set with an option -> the option's text.

    Raises:
        ConfigError: if keys or values are wrong; it names all of them.
    """
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        name = None if source is None else str(source)
        raise explain(error, name, dict(given or {}), Config) from None
    return placed(config, source if isinstance(source, Path) else None, given or {})


def read_config(text: str) -> Config:
    """Return the configuration that `Config.to_yaml` has written.

    Raises:
        ConfigError: if it is not a configuration.
    """
    tree = _parse(text, "the configuration")
    if not isinstance(tree, dict):
        raise ConfigError("", f"expected a mapping of keys to values, got a {type(tree).__name__}")
    return make_config(tree)


def read_mapping(path: Path, least: str) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Args:
        path: the file.
        least: a minimal example, shown if the file is empty.

    Raises:
        ConfigError: if it cannot be read, or is not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(str(path), "there is no such file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), f"is not UTF-8 text: {error}") from None
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from None
    tree = _parse(text, str(path))
    if tree is None:
        raise ConfigError(str(path), "the file is empty", f"It needs at least:{least}")
    if not isinstance(tree, dict):
        raise ConfigError(
            str(path), f"expected a mapping of keys to values, got a {type(tree).__name__}"
        )
    return tree


def _read(path: Path) -> dict[str, Any]:
    tree = read_mapping(path, _DEFAULT_EDGES)
    if "edges" not in tree:
        raise ConfigError("edges", f"{path} names no edges", f"For example:{_DEFAULT_EDGES}")
    return tree


def _set(tree: dict[str, Any], text: str) -> str:
    """Set one `key=value` in the raw tree; return the key, with edges by index.

    Unknown keys are found later, when the whole tree is validated.
    """
    key, equals, value = text.partition("=")
    steps = key.split(".")
    if not equals or not all(steps):
        raise ConfigError(f"--set {text}", "expected key=value, for example algorithm.rounds=5")
    path: list[str] = []
    place: Any = tree
    for step in steps[:-1]:
        slot = _slot(place, step, path, text)
        place = place.setdefault(slot, {}) if isinstance(place, dict) else place[slot]
        path.append(str(slot))
    slot = _slot(place, steps[-1], path, text)
    place[slot] = _value(value, text)
    return ".".join((*path, str(slot)))


def _value(value: str, text: str) -> Any:
    try:
        return _parse(value, "")
    except ConfigError as error:
        hint = "The value is read as YAML. Putting it in quotes may help."
        raise ConfigError(f"--set {text}", f"{value!r}: {error.message}", hint) from None


def _slot(place: Any, step: str, path: list[str], text: str) -> Any:
    """Return the key of a mapping or the index of a list that `step` names."""
    here = ".".join(path)
    if isinstance(place, dict):
        return step
    if not isinstance(place, list):
        raise ConfigError(f"--set {text}", f"{here} is {place!r} and has no keys")
    if step.isdecimal() and int(step) < len(place):
        return int(step)
    names = [item.get("name") if isinstance(item, dict) else None for item in place]
    if step in names:
        return names.index(step)
    known = [name for name in names if isinstance(name, str)]
    close = difflib.get_close_matches(step, known, n=1)
    listed = f", named {', '.join(known)}" if known else ""
    raise ConfigError(
        f"--set {text}",
        f"{here} has no {step!r}, only {len(place)} entries{listed}",
        f"Did you mean {close[0]}?" if close else None,
    )


def _parse(text: str, source: str) -> Any:
    if len(text) > LONGEST:
        raise ConfigError(source, f"has {len(text):,} characters; {LONGEST:,} are the most")
    try:
        return yaml.load(text, Loader=Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{source}{where}", plain_words(error.problem or "")) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(source, f"is not valid YAML: {_plain(error)}") from None


def _plain(error: Exception) -> str:
    """Return what is wrong, in plain words where Python's or PyYAML's would need explaining."""
    match error:
        case yaml.reader.ReaderError():
            return f"it has the character {chr(error.character)!r} at {error.position}"
    return str(error)
