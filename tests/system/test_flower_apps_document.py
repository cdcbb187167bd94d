"""docs/flower-apps.md: its topology and all its commands, as they are written."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.system.harness import hierfl

pytestmark = [pytest.mark.system, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "flower-apps.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


COMMANDS = [line for block in blocks("console") for line in block.splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the reader is: a folder with the examples and the page's topology."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (topology,) = blocks("yaml")
    (tmp_path / "tree.yaml").write_text(topology)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command(command: str, folder: Path) -> None:
    program, *arguments = shlex.split(command)
    assert program == "hierfl"
    done = hierfl(*arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    if arguments[0] == "run":
        assert json.loads((folder / "runs/digits/summary.json").read_text())["messages_up"] == 12


def test_the_two_lines_are_the_examples() -> None:
    package = ROOT / "examples" / "onebit-app" / "digits_onebit"
    code = "".join(file.read_text() for file in sorted(package.glob("*.py")))
    lines = [line for block in blocks("python") for line in block.splitlines()]
    assert len(lines) == 2 and all(line in code for line in lines)


def test_the_example_is_the_other_with_these_lines() -> None:
    """Nothing else is changed: the two apps differ in these lines and in their package's name."""
    for name in ("client_app.py", "server_app.py", "task.py"):
        plain = (ROOT / "examples/flower-app/digits" / name).read_text()
        ours = (ROOT / "examples/onebit-app/digits_onebit" / name).read_text()
        plain = plain.replace("from digits.", "from digits_onebit.")
        new = [line for line in ours.splitlines() if line not in plain.splitlines()]
        expected = {"client_app.py": 2, "server_app.py": 3, "task.py": 0}
        assert len(new) == expected[name], new
