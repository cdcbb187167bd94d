"""Turns pydantic's errors into one error that names each wrong key."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from hierfl.errors import ConfigError

Location = Sequence[int | str]
Models = list[type[BaseModel]]


_SAYS = {
    "missing": "this key is required",
    "tuple_type": "should be a list",
    "dict_type": "should be a mapping of keys to values",
    "model_type": "should be a mapping of keys to values",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "int_type": "should be an integer",
    "int_parsing": "should be an integer",
    "int_parsing_size": "should be an integer",
    "int_from_float": "should be an integer",
    "float_type": "should be a number",
    "float_parsing": "should be a number",
    "finite_number": "should be a finite number",
    "path_type": "should be the path of a file or a folder",
    "string_type": "should be a string; put it in quotes if YAML reads it as something else",
    "string_unicode": "should be text",
    "string_too_short": "should not be empty",
    "string_pattern_mismatch": "should be a name: 1 to 63 letters, digits, '_', '.' and '-',"
    " beginning with a letter or a digit",
    "union_tag_not_found": "should have the key kind: own, iid, dirichlet, shards or disjoint",
}


def explain(
    error: ValidationError,
    file: str | None,
    sets: Mapping[str, str],
    root: type[BaseModel],
) -> ConfigError:
    """Return one error that lists all problems, each with the path of its key.

    Args:
        error: pydantic's error.
        file: the file that was read, or None.
        sets: the keys set with `--set`, each with the option's text, to name the option.
        root: the model of the whole configuration.
    """
    problems = [_problem(detail, root) for detail in error.errors(include_url=False)]
    given = [_given(path, sets) for path, _ in problems]
    if len(problems) == 1:
        path, message = problems[0]
        origin = given[0] or (file and f"in {file}")
        return ConfigError(path, message, origin and f"This is {origin}.")
    lines = [f"{len(problems)} keys are wrong"]
    for (path, message), option in zip(problems, given, strict=True):
        lines.append(f"  {path}: {message}" + (f" ({option})" if option else ""))
    return ConfigError(file or "", "\n".join(lines))


def _given(path: str, sets: Mapping[str, str]) -> str | None:
    """Return the option that set the key at `path`, a part of it, or a mapping that holds it."""
    for key, text in sets.items():
        if f"{path}.".startswith(f"{key}.") or f"{key}.".startswith(f"{path}."):
            return f"given with --set {text}"
    return None


def _problem(detail: Any, root: type[BaseModel]) -> tuple[str, str]:
    """Return the path of a key and the message."""
    location, kind = detail["loc"], detail["type"]
    path = ".".join(str(step) for step in _without_tags(location, root))
    if kind == "extra_forbidden":
        return path, _unknown(location, root)
    if kind == "union_tag_invalid":
        context = detail["ctx"]
        return f"{path}.kind", f"should be {context['expected_tags']}, got {context['tag']!r}"
    if kind == "model_attributes_type":
        return path, _no_mapping(detail["input"], _inside_all(location, root))
    message = _SAYS.get(kind) or detail["msg"].removeprefix("Input ")
    if path and kind != "missing":
        message += f", got {_short(detail['input'])}"
    return path, message


def _inside_all(location: Location, root: type[BaseModel]) -> Models:
    models: Models = [root]
    for step in location:
        models = _inside(models, step)
    return models


def _no_mapping(value: object, models: Models) -> str:
    """Return the message for a value where there should be a mapping, of one of several kinds."""
    kinds = [_kind(model) for model in models if "kind" in model.model_fields]
    if value in kinds:
        return f"should be a mapping; did you mean {{kind: {value}}}?"
    what = "should be a mapping of keys to values"
    named = f" with the key kind: {', '.join(kinds)}" if kinds else ""
    return f"{what}{named}, got {_short(value)}"


def _short(value: object) -> str:
    if isinstance(value, int) and abs(value) >= 1 << 63:
        return "a number that is larger"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _without_tags(location: Location, root: type[BaseModel]) -> Iterator[str]:
    """Drop the tags that pydantic adds to a path, such as the kind of a partition."""
    models: Models = [root]
    for step in location:
        inner = _inside(models, step)
        if len(models) <= 1:
            yield str(step)
        models = inner


def _unknown(location: Location, root: type[BaseModel]) -> str:
    """Return the message for an unknown key, with the nearest known one."""
    *parents, name = (str(step) for step in location)
    models: Models = [root]
    siblings: Models = []
    for step in parents:
        siblings, models = models, _inside(models, step)
    owners = [m for m in siblings if m not in models and name in m.model_fields]
    if owners and len(siblings) > 1:
        return f"belongs to kind: {_kind(owners[0])}, not to kind: {parents[-1]}"
    known = list(dict.fromkeys(key for model in models for key in model.model_fields))
    close = [
        ".".join((*_without_tags(location[:-1], root), near))
        for near in difflib.get_close_matches(name, known, n=1)
    ] or [path for path in _paths([root]) if path.rpartition(".")[2] == name]
    hint = f"did you mean {close[0]}?" if close else f"the keys here are {', '.join(known)}"
    return f"there is no such key; {hint}"


def keys_named(name: str) -> list[str]:
    """Return the dotted keys of a configuration whose last part is a name."""
    from hierfl.config.schema import Config

    return [path for path in _paths([Config]) if path.rpartition(".")[2] == name]


def _inside(models: Models, step: int | str) -> Models:
    """Return the models that `step` (a key, an index or a union's tag) leads to."""
    if isinstance(step, int) or step.isdigit():
        return models
    fields = [model.model_fields[step] for model in models if step in model.model_fields]
    if fields:
        return [model for field in fields for model in _models_in(field.annotation)]
    if any("kind" in model.model_fields for model in models):
        return [model for model in models if _kind(model) == step]
    return models  # a name chosen by the user


def _kind(model: type[BaseModel]) -> str:
    return str(get_args(model.model_fields["kind"].annotation)[0])


def _models_in(annotation: Any) -> Models:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _paths(models: Models, prefix: str = "") -> list[str]:
    """Return all dotted keys; those of an edge or a host begin with `edges.0`, `hosts.0`."""
    found: dict[str, None] = {}
    for model in models:
        for key, field in model.model_fields.items():
            inner = _models_in(field.annotation)
            step = f"{key}.0" if key in ("edges", "hosts") else key
            found[prefix + key] = None
            found.update(dict.fromkeys(_paths(inner, f"{prefix}{step}.")))
    return list(found)
