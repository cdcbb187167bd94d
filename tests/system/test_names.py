"""The user's files and ours, of the same names: neither is taken for the other."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hierfl.loader import PACKAGES
from tests.system.flower_apps import PROBE, write_app
from tests.system.harness import ENVIRONMENT, LIMIT_S, summary

pytestmark = pytest.mark.system

FORMS = ["{}.py", "{}/__init__.py"]
EXECUTED = "import pathlib; pathlib.Path(__file__).with_suffix('.executed').touch(); 1 / 0\n"
SHORT = ["--set", "data.dataset=digits", "--set", "model=mlp", "--set", "algorithm.rounds=2",
         "--set", "algorithm.edge_steps=3"]  # fmt: skip
SCRIPT = [str(Path(sys.executable).with_name("hierfl"))]
MODULE = [sys.executable, "-m", "hierfl"]

OWN = """
from torch import nn

def build(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
"""


def fill(folder: Path, form: str, names: tuple[str, ...] = PACKAGES) -> None:
    """Put modules into a folder that say when they are executed, and fail."""
    for name in names:
        file = folder / form.format(name)
        file.parent.mkdir(exist_ok=True)
        file.write_text(EXECUTED)


def run(command: list[str], *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, in which nothing is executed."""
    done = subprocess.run(
        [*command, *arguments],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        stdin=subprocess.DEVNULL,
    )
    assert not list(cwd.rglob("*.executed"))
    return done


@pytest.mark.parametrize("form", FORMS)
def test_the_demo(form: str, tmp_path: Path) -> None:
    fill(tmp_path, form)
    done = run(SCRIPT, "run", *SHORT, "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert summary(tmp_path / "out")["rounds"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_the_demo_as_a_module_with_a_model_of_the_users(form: str, tmp_path: Path) -> None:
    fill(tmp_path, form, tuple(name for name in PACKAGES if name != "hierfl"))
    (tmp_path / "mine.py").write_text(OWN)
    own = ["--set", "model=mine:build"]
    done = run(MODULE, "run", *SHORT, *own, "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert summary(tmp_path / "out")["parameters"] == 650


@pytest.mark.parametrize("runtime", ["process", "memory"])
def test_a_model_that_is_hidden(runtime: str, tmp_path: Path) -> None:
    (tmp_path / "cloud.py").write_text(OWN)
    sets = [*SHORT, "--set", "model=cloud:build", "--set", f"runtime={runtime}"]
    done = run(SCRIPT, "run", *sets, cwd=tmp_path)
    assert done.returncode == 2
    file = tmp_path / "cloud.py"
    assert f"model: {file} is hidden by another module cloud, hierfl's own" in done.stderr
    assert "my_package.cloud:" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_experiments(form: str, tmp_path: Path) -> None:
    fill(tmp_path, form)
    compare = ["compare", "--algorithms", "hier-signsgd,hier-sgd", "--seeds", "1", "--splits",
               "iid", "--jobs", "2"]  # fmt: skip
    done = run(SCRIPT, *compare, *SHORT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    tune = ["tune", "--algorithm", "hier-sgd", "--grid", "algorithm.lr=0.1,0.2"]
    done = run(SCRIPT, *tune, *SHORT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_an_app_has_modules_of_its_own_with_these_names(form: str, tmp_path: Path) -> None:
    fill(tmp_path, form)
    app = write_app(tmp_path / "app", "import clients, cloud, edge\n" + PROBE)
    for name in ("clients", "cloud", "edge"):
        file = app / form.format(name)
        file.parent.mkdir(exist_ok=True)
        file.touch()
    config = ["--nodes", "2", "--run-config", f'results="{tmp_path / "results"}"']
    done = run(SCRIPT, "accelerate", "app", *config, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(json.loads((tmp_path / "results").read_text())) == 2
