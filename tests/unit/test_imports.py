"""An edge and a link import no torch, which needs much memory; a launcher nothing that is slow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("package", ["edge", "hierfl.config", "hierfl.numerics", "hierfl.link"])
def test_importing_it_all_brings_no_torch(package: str) -> None:
    files = (ROOT / package.replace(".", "/")).rglob("*.py")
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    assert names
    program = "\n".join(["import sys", *(f"import {name}" for name in names)])
    program += "\nsys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


LAUNCHER = ("hierfl.cli.main", "hierfl.cli.federation", "deploy.launcher.local",
            "deploy.launcher.server", "hierfl.runs.folder", "hierfl.planning.plan")  # fmt: skip
SLOW = {"flwr", "grpc", "torch", "cryptography", "rich.console"}
"""What the process from which nodes are forked imports meanwhile."""


def test_a_launcher_imports_nothing_slow() -> None:
    """It is on the way to the first vote, as is each command that only reads a configuration."""
    program = f"import sys, {', '.join(LAUNCHER)}; print(*sorted({SLOW} & {{*sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout.split() == []
