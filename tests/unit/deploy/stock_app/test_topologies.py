"""`app:` in a topology: what may stand beside it, what nodes agree on, what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.doctor import stock_app
from deploy.stock_app.accelerate import Tier, topology
from deploy.stock_app.app import app_of, read_app
from deploy.stock_app.describe import described
from deploy.stock_app.fingerprint import fingerprint
from hierfl.config import Config, load_config, make_config, read_config
from hierfl.config.digest import digest
from hierfl.errors import ConfigError
from hierfl.planning.plan import resolve

APP = Path(__file__).parents[3] / "system" / "apps" / "numpy"
EDGES = [{"name": "east", "devices": 2}, {"name": "west", "devices": 1}]


def config(**app: object) -> Config:
    return make_config({"app": {"path": str(APP), **app}, "edges": EDGES})


def test_a_path_alone_is_an_app() -> None:
    assert make_config({"app": str(APP), "edges": EDGES}) == config()


def test_a_configuration_is_written_and_read() -> None:
    made = resolve(config(run_config={"num-server-rounds": 5}, edge_rounds=2))
    assert read_config(made.to_yaml()) == made


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"model": "mlp"}, "model: should not be set"),
        ({"algorithm": {"rounds": 3}}, "algorithm: should not be set"),
        ({"data": {"dataset": "digits"}}, "data: should not be set"),
        ({"runtime": "memory"}, "runtime: should be process"),
    ],
)
def test_what_an_app_takes_the_place_of(more: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_config({"app": str(APP), "edges": EDGES, **more})
    assert said in caught.value.message


def test_nodes_agree_on_what_is_run_and_not_on_where_it_is() -> None:
    one = digest(config())
    assert digest(config(path="/elsewhere", node_config={"data-path": "/data"})) == one
    assert one.differing(digest(config(edge_rounds=2))) == ("app.edge_rounds",)
    changed = digest(config(run_config={"learning-rate": 0.5}))
    assert any(key.startswith("app.run_config") for key in one.differing(changed))
    assert not any(key.startswith("app") for key in digest(load_config(None)).keys)


def test_the_topologys_run_config_replaces_keys_of_the_apps() -> None:
    app = app_of(config(run_config={"num-server-rounds": 5}))
    assert app.run_config["num-server-rounds"] == 5 and app.run_config["learning-rate"] == 0.1
    with pytest.raises(ConfigError, match=r"app\.run_config.*num-server-round'"):
        app_of(config(run_config={"num-server-round": 5}))


@pytest.mark.parametrize(
    ("edges", "sizes"), [(1, [5]), (2, [2, 3]), (3, [1, 2, 2]), (5, [1] * 5)], ids=str
)
def test_accelerate_divides_the_nodes_over_the_edges(edges: int, sizes: list[int]) -> None:
    made = topology(read_app(APP, []), 5, Tier(edges))
    assert [len(edge.devices) for edge in made.edges] == sizes
    names = [name for edge in made.edges for name in edge.devices]
    assert names == [f"node-{index}" for index in range(5)]


def test_the_code_makes_the_fingerprint(tmp_path: Path) -> None:
    for name, text in (("pyproject.toml", ""), ("app.py", "a = 1"), ("notes.txt", "x")):
        (tmp_path / name).write_text(text)
    before = fingerprint(tmp_path)
    (tmp_path / "notes.txt").write_text("y")
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    (tmp_path / "venv" / "other.py").touch()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "other.py").touch()
    assert fingerprint(tmp_path) == before
    (tmp_path / "app.py").write_text("a = 2")
    assert fingerprint(tmp_path) != before


@pytest.mark.parametrize(
    ("dependency", "said"),
    [
        ('flwr", "no-such-package-here>=1', "no-such-package-here is not installed"),
        ('flwr", "numpy>=99', "numpy>=99 is needed, and numpy"),
        ("flwr>=99", "flwr>=99 is needed, and flwr"),
        ("flwr\", \"colorama; sys_platform == 'win32'", ""),
    ],
    ids=["absent", "version", "flower", "marker"],
)
def test_an_app_that_needs_what_is_not_there(dependency: str, said: str, tmp_path: Path) -> None:
    text = (APP / "pyproject.toml").read_text().replace('"flwr>=1.41", "numpy>=1.26"', "[it]")
    text = text.replace("[[it]]", f'["{dependency}"]')
    (tmp_path / "pyproject.toml").write_text(text)
    if not said:
        assert read_app(tmp_path, []).folder == tmp_path
        return
    with pytest.raises(ConfigError) as caught:
        read_app(tmp_path, [])
    assert said in caught.value.message and "pip install" in str(caught.value.hint)


def test_what_is_said_of_an_app() -> None:
    said = described(config(edge_rounds=2))
    assert "quickstart_numpy.server_app:app" in said and "east-0, east-1" in said
    assert "FedAvg, 2 rounds per round of the cloud" in said
    (finding,) = stock_app.of(config())
    assert finding.grade == "ok"
    (finding,) = stock_app.of(config(path="/nowhere"))
    assert finding.grade == "failure" and "pyproject.toml" in finding.text
