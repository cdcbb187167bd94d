"""Checks of Python and of the packages that hierfl requires."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from deploy.doctor.finding import Finding, failure, ok, warning

NAMED = ("hierfl", "flwr", "grpcio", "torch", "numpy")
"""The packages whose versions are always shown."""


def versions() -> Iterator[Finding]:
    """Compare the installed packages with the requirements in hierfl's metadata."""
    try:
        own = distribution("hierfl")
    except PackageNotFoundError:
        yield warning(
            "versions",
            f"{_told()}; hierfl is not installed, so its requirements are not known.",
            "Install it with pip.",
        )
        return
    needed = [Requirement(line) for line in own.requires or ()]
    wanted = [_python(own.metadata["Requires-Python"] or "")]
    wanted += [_package(need) for need in needed if not (need.marker and _is_extra(need))]
    wrong = [finding for finding in wanted if finding is not None]
    yield from wrong or [ok("versions", _told())]


def _is_extra(need: Requirement) -> bool:
    return need.marker is not None and not need.marker.evaluate({"extra": ""})


def _told() -> str:
    there = [f"python {platform.python_version()} ({platform.machine()})"]
    for name in NAMED:
        try:
            there.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(there)


def _python(wanted: str) -> Finding | None:
    here = platform.python_version()
    if SpecifierSet(wanted).contains(here, prereleases=True):
        return None
    return failure(
        "python", f"is {here}, and hierfl needs {wanted}.", "Create its venv with another one."
    )


def _package(need: Requirement) -> Finding | None:
    remedy = f"pip install '{need}'"
    try:
        here = version(need.name)
    except PackageNotFoundError:
        return failure(need.name, "is not installed.", remedy)
    if need.specifier.contains(here, prereleases=True):
        return None
    return failure(need.name, f"is {here}, and hierfl needs {need.specifier}.", remedy)
