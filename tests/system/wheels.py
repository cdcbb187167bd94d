"""Which wheels a Raspberry Pi gets: every package of the install, and what pip finds for it.

    python -m tests.system.wheels

prints the table of docs/raspberry-pi.md. It asks the package index, and installs nothing.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHON = "3.11"
GLIBC = (17, 24, 26, 27, 28)
"""Raspberry Pi OS 12 has glibc 2.36: wheels for any of these run there."""


def resolved(torch: str | None = None) -> list[str]:
    """Return what an install on 64-bit Arm brings, as NAME==VERSION.

    uv, which Flower brings along, judges the conditions of requirements as they are there; pip
    would judge them as they are here.

    Args:
        torch: a requirement that takes the place of constraints.txt's torch; None: that one stays.
    """
    pins = (ROOT / "constraints.txt").read_text()
    if torch is not None:
        pins = re.sub(r"(?m)^torch(vision)?==.*\n", "", pins) + f"{torch}\n"
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text(pins)
        command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--quiet",
                   "--extra", "digits", "--python-platform", "aarch64-manylinux_2_28",
                   "--python-version", PYTHON, "--only-binary", ":all:", "--no-annotate",
                   "--no-header", "--constraints", str(constraints)]  # fmt: skip
        return _output(command).split()


def wheels(pins: list[str]) -> dict[str, str]:
    """Return the file that pip would take on 64-bit Arm for each of these, by NAME==VERSION.

    Raises:
        RuntimeError: if there is none for one of them; pip's words name it.
    """
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in GLIBC] + ["manylinux2014_aarch64"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        _output(
            [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--no-deps",
             "--ignore-installed", "--target", folder, "--report", str(report),
             "--python-version", PYTHON, "--implementation", "cp", "--only-binary=:all:",
             *(part for platform in platforms for part in ("--platform", platform)), *pins]
        )  # fmt: skip
        found = json.loads(report.read_text())["install"]
    files = {
        _plain(item["metadata"]["name"]): item["download_info"]["url"].rpartition("/")[2]
        for item in found
    }
    return {pin: files[_plain(pin.partition("==")[0])] for pin in pins}


def kind(file: str) -> str:
    """Return what a wheel is built for: Arm, or any machine.

    >>> kind("numpy-2.4.6-cp311-cp311-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl")
    'aarch64, glibc 2.27'
    >>> kind("typer-0.20.1-py3-none-any.whl")
    'any'
    """
    platform = file.removesuffix(".whl").rpartition("-")[2]
    if platform == "any":
        return "any"
    least = min(map(int, re.findall(r"manylinux_2_(\d+)_aarch64", platform)), default=17)
    return f"aarch64, glibc 2.{least}"


def table() -> list[str]:
    """Return the table's rows: packages with code for Arm one by one, all others together."""
    found = {pin: kind(file) for pin, file in wheels(resolved()).items()}
    arm = {pin: built for pin, built in found.items() if built != "any"}
    rows = [f"| {' '.join(pin.split('=='))} | {built} |" for pin, built in sorted(arm.items())]
    rest = sorted(pin.partition("==")[0] for pin in found.keys() - arm.keys())
    return [*rows, f"| {len(rest)} others: {', '.join(rest)} | any |"]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _output(command: list[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


if __name__ == "__main__":
    print("\n".join(table()))
