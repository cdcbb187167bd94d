"""What an edge and a link import costs no torch, whose memory a small machine has not."""

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
