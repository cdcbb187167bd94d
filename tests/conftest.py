"""Settings for all tests; before any of them imports NumPy, torch or Flower."""

import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

ROOT = Path(__file__).parents[1]

settings.register_profile("hierfl", deadline=None)
settings.load_profile("hierfl")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a test's output fit for UTF-8: a worker of pytest-xdist cannot send it otherwise."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(autouse=True)
def users_modules_go(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget a topology's folder, and the modules that were imported from it, after each test."""
    from hierfl import loader

    folders: list[Path] = []
    monkeypatch.setattr(loader, "_FOLDERS", folders)
    monkeypatch.setattr(sys, "path", [*sys.path])
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        file = getattr(sys.modules[name], "__file__", None)
        if file and any(
            Path(file).is_relative_to(f) for f in folders if not ROOT.is_relative_to(f)
        ):
            del sys.modules[name]
