"""How a Flower app's pyproject.toml is read, and its parts imported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from flwr.clientapp import ClientApp

from deploy.stock_app.app import load_part, read_app
from hierfl.errors import ConfigError, render

APP = """
[project]
name = "app"
version = "1.0.0"
dependencies = ["flwr[simulation]>=1.41", "Torch >= 2", "numpy"]
[tool.flwr.app]
publisher = "tests"
[tool.flwr.app.components]
serverapp = "app.server:app"
clientapp = "app.client:app"
[tool.flwr.app.config]
rounds = 3
lr = 0.1
name = "first try"
fast = false
model.width = 8
[tool.flwr.app.config.data]
set = "digits"
"""
DEFAULTS = {
    "rounds": 3,
    "lr": 0.1,
    "name": "first try",
    "fast": False,
    "model.width": 8,
    "data.set": "digits",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(APP)
    return tmp_path


def test_an_app_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    app = read_app(Path("."), [])
    assert app.folder == folder
    assert (app.server, app.client) == ("app.server:app", "app.client:app")
    assert app.run_config == DEFAULTS
    assert app.requires == {"flwr", "torch", "numpy"}


@pytest.mark.parametrize(
    ("overrides", "changes"),
    [
        (["rounds=5 lr=0.5"], {"rounds": 5, "lr": 0.5}),
        (["rounds=5", "fast=true"], {"rounds": 5, "fast": True}),
        (["name='a b' data.set=\"mnist\""], {"name": "a b", "data.set": "mnist"}),
        (["model.width=9"], {"model.width": 9}),
    ],
)
def test_overrides(overrides: list[str], changes: dict[str, object], folder: Path) -> None:
    assert read_app(folder, overrides).run_config == DEFAULTS | changes


def test_overrides_from_a_file(folder: Path) -> None:
    (folder / "more.toml").write_text('rounds = 7\n[data]\nset = "mnist"')
    overrides = [str(folder / "more.toml")]
    assert read_app(folder, overrides).run_config == DEFAULTS | {"rounds": 7, "data.set": "mnist"}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["round=5"], ["'round'", "Did you mean 'rounds'?"]),
        (["zzz=5"], ["'zzz'", "It has rounds, lr"]),
        (["rounds = 5"], ["KEY=VALUE", "no spaces"]),
        (["rounds=five"], ["--run-config", "format"]),
        (["rounds=[1, 2]"], ["--run-config"]),
        (["nowhere.toml"], ["nowhere.toml", "No such file"]),
        (["rounds=5", "more.toml"], ["TOML"]),
    ],
)
def test_wrong_overrides(overrides: list[str], words: list[str], folder: Path) -> None:
    assert_refused(folder, overrides, words)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[tool.flwr", "[tool.flower", ["Missing [tool.flwr.app] section"]),
        ('publisher = "tests"', "", ['"publisher" missing']),
        ('clientapp = "app.client:app"', "", ['"clientapp" missing']),
        ("app.client:app", "app.client", ["Missing attribute in app.client"]),
        ('"app.client:app"', "7", ["no Flower app"]),
        ('serverapp = "app.server:app"', 'agentapp = "app:app"', ["serverapp"]),
        ("rounds = 3", "rounds = [1, 2]", ["rounds"]),
        ("rounds = 3", "rounds = ", ["line 12"]),
    ],
)
def test_no_app(old: str, new: str, words: list[str], folder: Path) -> None:
    (folder / "pyproject.toml").write_text(APP.replace(old, new))
    assert_refused(folder, [], ["pyproject.toml", *words])


def test_no_project(tmp_path: Path) -> None:
    assert_refused(tmp_path, [], [str(tmp_path), "no pyproject.toml", "flwr run"])
    (tmp_path / "pyproject.toml").mkdir()
    assert_refused(tmp_path, [], [str(tmp_path), "directory"])


@pytest.mark.parametrize("file", ["deploy.py", "hierfl/__init__.py"])
def test_a_module_with_the_name_of_what_runs_it(file: str, folder: Path) -> None:
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).touch()
    assert_refused(folder, [], [str(folder / file), "has the name of a package of hierfl"])


def assert_refused(folder: Path, overrides: list[str], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read_app(folder, overrides)
    text = render(caught.value)
    for word in words:
        assert word in text
    assert len(text.splitlines()) < 12


def test_parts_are_looked_for_in_the_folder_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "app_of_this_test.py").write_text(
        "from flwr.clientapp import ClientApp\nclient = ClientApp()\nnumber = 3\n"
    )
    part = load_part("app_of_this_test:client", "clientapp", ClientApp, tmp_path)
    assert isinstance(part, ClientApp)
    with pytest.raises(ConfigError, match=r"clientapp: app_of_this_test:number is a int, where"):
        load_part("app_of_this_test:number", "clientapp", ClientApp, tmp_path)
    with pytest.raises(ConfigError, match="no module named 'nowhere'") as caught:
        load_part("nowhere:app", "serverapp", ClientApp, tmp_path)
    assert str(tmp_path) in render(caught.value)
