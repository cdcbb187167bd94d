"""The run config of Flower's engine: every key of a topology, and what is wrong with one."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

import hierfl
from deploy.flower.settings import gathering, topology
from hierfl.config import Algorithm, Data, Downlink, Quorum, Uplink, load_config
from hierfl.config.sections import Evaluate
from hierfl.errors import ConfigError

PYPROJECT = tomllib.loads((Path(hierfl.__file__).parents[1] / "pyproject.toml").read_text())
EDGES = {"edges": [{"name": "east", "devices": 3}, {"name": "west", "devices": 3}]}


def flat(tree: dict[str, Any], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{path}{key}.") if isinstance(value, dict) else {path + key: value}
    return found


RUN_CONFIG = flat(PYPROJECT["tool"]["flwr"]["app"]["config"])


def test_the_defaults_are_the_topologys() -> None:
    made = topology(RUN_CONFIG, EDGES)
    assert made == load_config(None, ["name=flower"]).model_copy(update={"edges": made.edges})
    assert made.tree() == load_config(None).tree()


@pytest.mark.parametrize(
    ("section", "model"),
    [("algorithm", Algorithm), ("data", Data), ("downlink", Downlink), ("uplink", Uplink),
     ("quorum", Quorum), ("evaluate", Evaluate)],
)  # fmt: skip
def test_every_key_of_a_section_is_there(section: str, model: Any) -> None:
    for key in model.model_fields:
        dotted = f"{section}.{key}"
        assert dotted in RUN_CONFIG or any(name.startswith(f"{dotted}.") for name in RUN_CONFIG)


def test_a_key_is_set_by_its_dotted_name() -> None:
    made = topology(
        RUN_CONFIG
        | {"data.partition.kind": "dirichlet", "data.partition.alpha": 0.5, "algorithm.lr": 0.1,
           "algorithm.options": "{decay: 0.5, warm: true}"},
        EDGES,
    )  # fmt: skip
    assert made.data.partition.model_dump() == {
        "kind": "dirichlet",
        "alpha": 0.5,
        "within": "federation",
    }
    assert made.algorithm.lr == 0.1
    assert made.algorithm.options == {"decay": 0.5, "warm": True}


def test_how_the_tree_gathers() -> None:
    own = gathering(RUN_CONFIG | {"edges": 3, "wait": 10})
    assert (own.tier, own.edges, own.wait, own.link) == ("cloud", 3, 10.0, "stream")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edges": "two"}, "edges: should be of type int, got 'two'"),
        ({"link": "pigeon"}, "link: should be stream or flower, got 'pigeon'"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        gathering(RUN_CONFIG | change)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="token: the run config lacks this key"):
        gathering({key: value for key, value in RUN_CONFIG.items() if key != "token"})


def test_a_wrong_key_of_the_topology_is_named() -> None:
    with pytest.raises(ConfigError, match=r"algorithm\.rounds"):
        topology(RUN_CONFIG | {"algorithm.rounds": 0}, EDGES)


def test_the_app_and_the_package_have_one_version() -> None:
    assert PYPROJECT["project"]["version"] == hierfl.__version__
