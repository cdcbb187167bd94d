from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hierfl
from hierfl.learning.data import Form
from hierfl.learning.models import build_model
from hierfl.learning.sources import IDX_STEMS
from hierfl.protocol.facts import Facts

WriteSet = Callable[..., dict[str, np.ndarray]]


def build(
    spec: Any, shape: tuple[int, ...] = (1, 8, 8), classes: int = 10, seed: int = 1
) -> torch.nn.Module:
    """A model of classes of images."""
    facts = Facts(0, shape, "float32", labels=tuple(range(classes)), target_shape=())
    return build_model(spec, Form(shape, classes, (classes,)), facts, seed)


@pytest.fixture
def run_python(tmp_path: Path) -> Callable[..., str]:
    """Runs code in a Python of its own, in `tmp_path`, and gives what it printed."""

    def run(code: str, *arguments: str) -> str:
        path = os.pathsep.join([str(Path(hierfl.__file__).parents[1]), *sys.path])
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine where no usual place holds a data set; gives its (empty) home."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HIERFL_DATA", raising=False)
    monkeypatch.setattr("hierfl.learning.sources.SYSTEM", tmp_path / "system")
    return home


@pytest.fixture
def write_set() -> WriteSet:
    """Writes four IDX files of random images, and returns what is in them."""

    def write(
        folder: Path, *, seed: int = 0, train: int = 30, test: int = 10, gz: bool = True
    ) -> dict[str, np.ndarray]:
        generator = np.random.default_rng(seed)
        folder.mkdir(parents=True, exist_ok=True)
        shapes = [(train, 28, 28), (train,), (test, 28, 28), (test,)]
        arrays = {}
        for stem, shape in zip(IDX_STEMS, shapes, strict=True):
            high = 256 if len(shape) == 3 else 10
            arrays[stem] = generator.integers(0, high, shape, dtype=np.uint8)
            header = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
            content = header + arrays[stem].tobytes()
            name = f"{stem}.gz" if gz else stem
            (folder / name).write_bytes(gzip.compress(content) if gz else content)
        return arrays

    return write
