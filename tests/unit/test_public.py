"""What `hierfl` itself offers: every name is there, typed, and imported when it is first used."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import hierfl

ROOT = Path(__file__).parents[2]


def imported(program: str) -> set[str]:
    """The top-level packages that a program has imported in a process of its own."""
    check = f"import sys\n{program}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_every_name_that_is_promised_is_there() -> None:
    for name in hierfl.__all__:
        assert getattr(hierfl, name) is not None
    assert set(hierfl.__all__) <= set(dir(hierfl))
    assert set(hierfl._HOMES) | {"__version__"} == set(hierfl.__all__)
    assert all(f"\n    {name} " in (hierfl.__doc__ or "") for name in hierfl._HOMES)
    with pytest.raises(AttributeError, match="no attribute 'Algorithms'"):
        hierfl.Algorithms  # noqa: B018
    with pytest.raises(ImportError):
        from hierfl import nothing  # noqa: F401


def test_import_hierfl_imports_nothing_else() -> None:
    assert not imported("import hierfl") & {"numpy", "torch", "flwr", "grpc", "pydantic", "typing"}


@pytest.mark.parametrize(
    ("names", "without"),
    [
        ("Algorithm, Codec, PayloadSizes, RandomizedCodec", "torch flwr grpc pydantic"),
        ("load_config, HierflError", "torch flwr grpc"),
        ("LinkGrid, LinkClient, RoundOpening, LocalSteps", "torch"),
    ],
)
def test_a_name_brings_what_it_needs_alone(names: str, without: str) -> None:
    assert not imported(f"from hierfl import {names}") & set(without.split())


def test_the_version_is_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert hierfl.__version__ == project["version"]
    said = [
        path for path in (ROOT / "hierfl").rglob("*.py") if project["version"] in path.read_text()
    ]
    assert said == []


def test_types_are_published() -> None:
    assert (ROOT / "hierfl" / "py.typed").exists()
