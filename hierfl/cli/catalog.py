"""The commands `hierfl list` and `hierfl schema`: what a topology may say."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Kind(StrEnum):
    """What can be listed."""

    ALGORITHMS = "algorithms"
    CODECS = "codecs"
    DATASETS = "datasets"
    MODELS = "models"
    TASKS = "tasks"


def list_(
    kind: Annotated[Kind, typer.Argument(help="What to list.")], as_json: Json = False
) -> None:
    """List what is built in: algorithms, codecs, datasets, models or tasks.

    Your own are named as module:attribute.

    Example: hierfl list algorithms
    """
    found = {name: _first_line(what) for name, what in _built_in(kind).items()}
    if as_json:
        print(json.dumps(found, indent=2))
        return
    width = max(map(len, found))
    for name, words in found.items():
        print(f"{name:<{width}}  {words}")


def schema() -> None:
    """Print the JSON schema of a topology file, by which editors complete it.

    Example: hierfl schema > hierfl.schema.json
    """
    from hierfl.config.json_schema import json_schema

    print(json.dumps(json_schema(), indent=2))


def _built_in(kind: Kind) -> Mapping[str, object]:
    """Return what is built in by its name, each with a docstring, or its words."""
    match kind:
        case Kind.ALGORITHMS:
            from hierfl.algorithms import BUILT_IN as ALGORITHMS

            return ALGORITHMS
        case Kind.CODECS:
            from hierfl.codecs.registry import CODECS

            return CODECS
        case Kind.DATASETS:
            return _datasets()
        case Kind.MODELS:
            from hierfl.learning.zoo import ZOO

            return ZOO
        case Kind.TASKS:
            from hierfl.learning.tasks import BUILT_IN as TASKS

            return TASKS


def _datasets() -> Mapping[str, object]:
    from hierfl.config.data_section import Csv, Images, Npz, TextFiles
    from hierfl.learning.sources import FORMS

    sets = {
        name: f"inputs {' x '.join(map(str, facts.shape or ()))}, {len(facts.labels)} classes"
        for name, facts in FORMS.items()
    }
    return {**sets, "csv": Csv, "npz": Npz, "images": Images, "text": TextFiles}


def _first_line(what: object) -> str:
    if isinstance(what, str):
        return what
    return (inspect.getdoc(what) or "").partition("\n")[0]
