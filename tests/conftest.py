"""Settings for all tests; before any of them imports NumPy, torch or Flower."""

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

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
