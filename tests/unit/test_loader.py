"""User's own parts by name, and what is said when they cannot be had."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hierfl.errors import ConfigError, render
from hierfl.loader import PACKAGES, load


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def failure(reference: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(reference, "model")
    assert caught.value.path == "model"
    return render(caught.value)


def test_a_module_of_the_current_directory(here: Path) -> None:
    (here / "mine").mkdir()
    (here / "mine" / "nets.py").write_text("class Family:\n    def build(): return 7\n")
    assert load("mine.nets:Family.build", "model")() == 7


def test_the_users_folder_comes_last(here: Path) -> None:
    load("json:dumps", "model")
    assert sys.path[-1] == str(here) and str(here) not in sys.path[:-1]


def test_an_apps_folder_comes_first(here: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    app = tmp_path_factory.mktemp("app")
    (app / "statistics.py").write_text("mine = 3\n")
    assert load("hierfl.units:plural", "serverapp", app)
    assert sys.path[0] == str(app)


@pytest.mark.parametrize("form", ["{}.py", "{}/__init__.py"])
@pytest.mark.parametrize("name", ["clients", "cloud", "deploy", "edge", "hierfl", "json", "time"])
def test_a_module_of_the_users_with_the_name_of_another(here: Path, name: str, form: str) -> None:
    file = here / form.format(name)
    file.parent.mkdir(exist_ok=True)
    file.write_text("raise SystemExit('executed')\n")
    text = failure(f"{name}:build")
    assert f"model: {file} is hidden by another module {name}" in text
    assert f"put it into a package: my_package.{name}:" in text
    assert ("hierfl's own" in text) == (name in PACKAGES)


def test_a_module_in_a_package_of_the_users_with_the_name_of_another(here: Path) -> None:
    (here / "cloud").mkdir()
    (here / "cloud" / "nets.py").write_text("raise SystemExit('executed')\n")
    assert f"{here / 'cloud' / 'nets.py'} is hidden by another module cloud" in failure(
        "cloud.nets:build"
    )


def test_a_package_of_hierfls_that_nobody_else_has(here: Path) -> None:
    assert load("hierfl.units:plural", "model")(1, "step") == "1 step"
    assert "cloud, hierfl's own, has no attribute 'build'" in failure("cloud:build")


def test_a_module_that_lies_in_a_package_of_its_own(here: Path) -> None:
    (here / "mine").mkdir()
    (here / "mine" / "cloud.py").write_text("build = 7\n")
    assert load("mine.cloud:build", "model") == 7


def test_an_installed_module(here: Path) -> None:
    assert load("json:dumps", "model")([1]) == "[1]"


@pytest.mark.parametrize("reference", ["", "cnn", "a.b", ":build", "a:"])
def test_the_form_is_explained(here: Path, reference: str) -> None:
    text = failure(reference)
    assert f"model: expected module:attribute, got {reference!r}" in text
    assert "my_package.nets:build" in text


@pytest.mark.parametrize("missing", ["nowhere", "nowhere.inside", "json.nowhere"])
def test_a_module_that_is_not_there(here: Path, missing: str) -> None:
    text = failure(f"{missing}:build")
    name = missing if missing.startswith("json") else "nowhere"
    assert f"there is no module named {name!r} (in '{missing}:build')" in text
    assert str(here) in text


def test_an_import_inside_the_module_that_fails(here: Path) -> None:
    (here / "outer.py").write_text("\nimport not_installed\n")
    text = failure("outer:build")
    assert "importing outer failed" in text
    assert f'File "{here / "outer.py"}", line 2' in text
    assert "ModuleNotFoundError: No module named 'not_installed'" in text


@pytest.mark.parametrize(
    ("source", "said"),
    [("x = 1 / 0", "ZeroDivisionError: division by zero"), ("def (:", "SyntaxError:")],
)
def test_a_module_that_fails(here: Path, source: str, said: str) -> None:
    (here / "broken.py").write_text(source)
    text = failure("broken:build")
    assert said in text
    assert "broken.py" in text
    assert "Traceback" not in text


def test_an_attribute_that_is_not_there(here: Path) -> None:
    (here / "close.py").write_text("def build_model(): ...\n")
    text = failure("close:build_modle")
    assert "close has no attribute 'build_modle'" in text
    assert "Did you mean 'build_model'?" in text
    assert "Did you mean" not in failure("close:zzz")


@pytest.mark.parametrize("reference", [".:x", "a..b:x", ".relative:x"])
def test_odd_module_names(here: Path, reference: str) -> None:
    failure(reference)
