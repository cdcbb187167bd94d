"""Podman, and the commands of docs/containers.md, with the tests' own names."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from hierfl.learning.sources import SOURCES, find
from tests.system.harness import ENVIRONMENT

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/containers.md").read_text()
LIMIT_S = 1800  # for a command; building the image takes minutes
IMAGE = "hierfl-test"
PROJECT = f"hierfl-test-{os.getpid()}"


def blocks() -> list[str]:
    """The commands of the document."""
    shown = "".join(DOCUMENT.split("```")[1::2]).replace("\\\n", "")
    return [" ".join(line.split()) for line in shown.splitlines()]


def documented(command: str, cwd: Path, change: Callable[[str], str] = lambda text: text) -> str:
    """Run a command of the document, with the test's own names; return what it prints."""
    assert command in blocks(), f"docs/containers.md does not have: {command}"
    text = change(command).replace("demo_", f"{PROJECT}_").replace("-t hierfl ", f"-t {IMAGE} ")
    done = subprocess.run(
        ["bash", "-ec", text], cwd=cwd, env=environment(), capture_output=True, text=True,
        timeout=LIMIT_S, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, f"{text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def environment() -> dict[str, str]:
    data = find(SOURCES["fashion-mnist"], None)
    assert data is not None, "hierfl data get fashion-mnist"
    path = f"{Path(sys.executable).parent}{os.pathsep}{ENVIRONMENT['PATH']}"
    return ENVIRONMENT | {
        "PATH": path,
        "HIERFL_DATA": str(data),
        "HIERFL_IMAGE": IMAGE,
        "COMPOSE_PROJECT_NAME": PROJECT,
    }


def podman(*arguments: str, fails: bool = False) -> str:
    """Return what a podman command prints; on both of its channels, if it may fail."""
    done = subprocess.run(
        ["podman", *arguments], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert fails or done.returncode == 0, f"{shlex.join(arguments)}\n{done.stderr}"
    return done.stdout + (done.stderr if fails else "")
