"""User's own parts by name, and what is said when they cannot be had."""

from __future__ import annotations

import sys

import pytest

from hierfl.errors import ConfigError, render
from hierfl.loader import load


@pytest.fixture
def here(tmp_path, monkeypatch):
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


def test_a_module_of_the_current_directory(here):
    (here / "mine").mkdir()
    (here / "mine" / "nets.py").write_text("class Family:\n    def build(): return 7\n")
    assert load("mine.nets:Family.build", "model")() == 7


def test_an_installed_module(here):
    assert load("json:dumps", "model")([1]) == "[1]"


@pytest.mark.parametrize("reference", ["", "cnn", "a.b", ":build", "a:"])
def test_the_form_is_explained(here, reference):
    text = failure(reference)
    assert f"model: expected module:attribute, got {reference!r}" in text
    assert "my_package.nets:build" in text


@pytest.mark.parametrize("missing", ["nowhere", "nowhere.inside", "json.nowhere"])
def test_a_module_that_is_not_there(here, missing):
    text = failure(f"{missing}:build")
    name = missing if missing.startswith("json") else "nowhere"
    assert f"there is no module named {name!r} (in '{missing}:build')" in text
    assert str(here) in text


def test_an_import_inside_the_module_that_fails(here):
    (here / "outer.py").write_text("\nimport not_installed\n")
    text = failure("outer:build")
    assert "importing outer failed" in text
    assert f'File "{here / "outer.py"}", line 2' in text
    assert "ModuleNotFoundError: No module named 'not_installed'" in text


@pytest.mark.parametrize(
    ("source", "said"),
    [("x = 1 / 0", "ZeroDivisionError: division by zero"), ("def (:", "SyntaxError:")],
)
def test_a_module_that_fails(here, source, said):
    (here / "broken.py").write_text(source)
    text = failure("broken:build")
    assert said in text
    assert "broken.py" in text
    assert "Traceback" not in text


def test_an_attribute_that_is_not_there(here):
    (here / "close.py").write_text("def build_model(): ...\n")
    text = failure("close:build_modle")
    assert "close has no attribute 'build_modle'" in text
    assert "Did you mean 'build_model'?" in text
    assert "Did you mean" not in failure("close:zzz")


@pytest.mark.parametrize("reference", [".:x", "a..b:x", ".relative:x"])
def test_odd_module_names(here, reference):
    failure(reference)
