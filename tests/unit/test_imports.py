"""Imports run downwards only, and heavy or private things stay where they belong.

The rules are those of the page on layers: every module of hierfl has a floor, which names what of
hierfl it may import and, where it matters, which other packages.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROLES = {"clients", "edge", "cloud"}
PACKAGES = {"hierfl", "deploy", *ROLES}

# Of Flower, its documented packages only; the rest may move with any release.
FLOWER_PUBLIC = {
    "flwr.app",
    "flwr.clientapp",
    "flwr.clientapp.mod",
    "flwr.serverapp",
    "flwr.serverapp.strategy",
}
FLOWER_PRIVATE_IS_FOR = "hierfl.link.flower"
TORCH = {"torch", "torchvision"}
TORCH_IS_FOR = "hierfl.learning"


@dataclass(frozen=True)
class Floor:
    """What one part of hierfl may import.

    Attributes:
        below: the parts of hierfl under it.
        others: packages outside the standard library; None for any but torch.
    """

    below: frozenset[str]
    others: frozenset[str] | None


def floor(below: str = "", others: str | None = None) -> Floor:
    return Floor(frozenset(below.split()), None if others is None else frozenset(others.split()))


FLOORS = {
    "errors": floor(others=""),
    "lifeline": floor(others=""),
    "heap": floor(others=""),
    "config": floor("errors", others="pydantic pydantic_core yaml"),
    "loader": floor("errors", others=""),
    "numerics": floor("errors", others="numpy"),
    "model": floor("errors", others="numpy"),
    "algorithms": floor("errors loader numerics", others="numpy"),
    "learning": floor(
        "errors config loader numerics", others="numpy torch torchvision sklearn safetensors"
    ),
    "ledger": floor("errors", others=""),
    "link": floor("errors ledger", others="flwr grpc google cryptography"),
    "security": floor("errors config link", others=""),
    "certs": floor("errors config link", others="cryptography"),
    "messages": floor("errors link", others="flwr"),
    "plan": floor("errors config loader numerics algorithms model link security", others=""),
    "rollout": floor("errors ledger messages model link", others="flwr"),
    "checkpoint": floor("errors config numerics model ledger", others="numpy safetensors"),
    "units": floor(others=""),
    "folder": floor("errors config", others=""),
    "wire": floor("errors", others=""),
    "report": floor("errors config ledger units", others=""),
    "forecast": floor("errors config numerics plan", others=""),
    "describe": floor("errors config numerics learning plan units forecast", others="rich"),
    "cli": floor(
        "errors lifeline config loader numerics model algorithms learning ledger messages link"
        " security certs plan rollout checkpoint report units folder wire forecast describe"
    ),
}


def imported(source: str, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and finest dotted name of each import in `source`, lazy ones and literal calls too."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func)
            if called == "__import__" or called.rpartition(".")[2] == "import_module":
                yield node.lineno, str(node.args[0].value)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def objection(module: str, name: str) -> str | None:
    """Why `module` must not import `name`, or None."""
    top = name.partition(".")[0]
    if top in TORCH and not within(module, TORCH_IS_FOR):
        return f"{top} is for {TORCH_IS_FOR} alone"
    if top == "flwr" and module != FLOWER_PRIVATE_IS_FOR:
        public = {name, name.rpartition(".")[0]} & FLOWER_PUBLIC
        if not public:
            return f"{name} is not public; such names are for {FLOWER_PRIVATE_IS_FOR} alone"
    own = module.partition(".")[0]
    if own == "hierfl":
        return _objection_of_hierfl(module, name, top)
    if own in ROLES and top in (ROLES | {"deploy"}) - {own}:
        return "a role imports hierfl, no other role and not deploy"
    if own == "edge" and within(name, TORCH_IS_FOR):
        return "an edge needs no torch"
    return None


def _objection_of_hierfl(module: str, name: str, top: str) -> str | None:
    if top in PACKAGES - {"hierfl"}:
        return "hierfl reaches the roles and deploy by name only"
    part = [*module.split("."), ""][1]
    if not part:
        return None if top in sys.stdlib_module_names else "hierfl itself imports nothing"
    if part not in FLOORS:
        return f"hierfl.{part} has no floor in this test yet"
    here = FLOORS[part]
    if top == "hierfl":
        wanted = [*name.split("."), "__version__"][1]
        if wanted in {part, "__version__"} | here.below:
            return None
        return f"hierfl.{part} stands on {', '.join(sorted(here.below)) or 'nothing'}"
    if top in sys.stdlib_module_names or here.others is None or top in here.others:
        return None
    return f"hierfl.{part} uses {', '.join(sorted(here.others)) or 'the standard library'} only"


def modules() -> Iterator[tuple[Path, str]]:
    for package in sorted(PACKAGES):
        for path in sorted((ROOT / package).rglob("*.py")):
            if "_pb2" not in path.stem:
                parts = path.relative_to(ROOT).with_suffix("").parts
                yield path, ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def objections(source: str, module: str, is_package: bool = False) -> list[str]:
    return [
        f"line {line}: {name}: {reason}"
        for line, name in imported(source, module, is_package)
        if (reason := objection(module, name))
    ]


def test_every_part_of_hierfl_has_a_floor():
    parts = {module.split(".")[1] for _, module in modules() if module.startswith("hierfl.")}
    assert {"errors", "config", "loader", "numerics", "algorithms", "learning", "link"} <= parts
    assert parts <= FLOORS.keys()


def test_floors_stand_on_lower_floors():
    lower: set[str] = set()
    for part, here in FLOORS.items():
        assert here.below <= lower, part
        lower.add(part)


def test_imports_run_downwards():
    found = [
        f"{path.relative_to(ROOT)} {objected}"
        for path, module in modules()
        for objected in objections(path.read_text(), module, path.name == "__init__.py")
    ]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("hierfl.errors", "import hierfl.config"),
        ("hierfl.config.read", "import numpy"),
        ("hierfl.loader", "from hierfl import numerics"),
        ("hierfl.numerics.vote", "from ..algorithms import base"),
        ("hierfl.numerics.vote", "import scipy"),
        ("hierfl.algorithms.base", "def f():\n    from flwr.app import Message"),
        ("hierfl.algorithms.base", "import torch.nn as nn"),
        ("hierfl.link.grid", "import numpy as np"),
        ("hierfl.link.grid", "from hierfl.numerics.signs import pack"),
        ("hierfl.link.grid", "from flwr.common.serde import message_to_proto"),
        ("hierfl.link.grid", "from flwr import common"),
        ("hierfl.link.flower", "import torch"),
        ("hierfl.cli", "__import__('torch')"),
        ("hierfl.cli", "import importlib\nimportlib.import_module('cloud.main')"),
        ("hierfl.cli", "if True:\n    from deploy.local import run_local"),
        ("cloud.strategy", "from edge.cluster import Cluster"),
        ("cloud.strategy", "import torch"),
        ("cloud.main", "import deploy"),
        ("edge.main", "from hierfl.learning.models import build_model"),
        ("deploy.local", "import flwr.supercore.run"),
        ("clients", "from . import main\nfrom edge import main"),
    ],
)
def test_a_wrong_import_is_found(module, source):
    assert len(objections(source, module, is_package="." not in module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("hierfl.cli", "from hierfl import __version__, lifeline\nimport typer"),
        ("hierfl.numerics.vote", "import numpy.random\nfrom .signs import pack\nimport math"),
        ("hierfl.learning.models", "def f():\n    from torchvision.models import resnet18"),
        ("hierfl.link.flower", "from flwr.common.serde import message_to_proto"),
        ("cloud.strategy", "from flwr.serverapp.strategy import Strategy\nimport cloud.view"),
        ("deploy.memory", "from edge.cluster import Cluster\nfrom hierfl.learning import flat"),
    ],
)
def test_a_right_import_passes(module, source):
    assert objections(source, module) == []


@pytest.mark.parametrize("package", ["edge", "hierfl.config", "hierfl.numerics", "hierfl.link"])
def test_importing_it_all_brings_no_torch(package):
    names = [module for _, module in modules() if within(module, package)]
    assert names
    lines = [f"import {name}" for name in names]
    program = "\n".join(["import sys", *lines, "sys.exit('torch' in sys.modules)"])
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
