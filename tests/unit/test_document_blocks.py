"""Every command and every block of Python in the documents is run, here or by a test that is named.

Runs are made small: digits, a small model, one round, one process. A page with tests of its own and
a command that no test here can run (of other machines, as root, for hours) is named below with what
runs it; whatever is new in a document is neither, and fails.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.conftest import Run
from tests.unit.test_documents import DOCUMENTS, ROOT, blocks

SMALL = ["runtime=memory", "data.dataset=digits", "model=mlp", "algorithm.rounds=1",
         "algorithm.edge_steps=2"]  # fmt: skip

OWN_TESTS = {
    "docs/data.md": "tests/unit/learning/test_own_documents.py",
    "docs/tasks.md": "tests/unit/learning/test_own_documents.py",
    "docs/deploy.md": "tests/unit/deploy/ssh/test_deploy_document.py",
    "docs/containers.md": "tests/system/test_containers.py",
    "docs/flower-apps.md": "tests/system/test_flower_apps_document.py",
    "docs/flower.md": "tests/system/test_engine.py",
    "examples/regression/README.md": "tests/system/test_examples.py",
    "examples/sensors/README.md": "tests/system/test_examples.py",
    "examples/text/README.md": "tests/system/test_examples.py",
    "examples/own/README.md": "tests/unit/learning/test_example.py",
}
"""Pages with a test of their own."""

ELSEWHERE = {
    r"pip install|\.venv/bin/pip": "tests/system/release.py",
    r"python3 -m venv": "tests/system/release.py",
    r"make \w+": "Makefile",
    r"(sudo \S+)?python -m benchmarks|hierfl loadtest": "benchmarks",
    r"sudo hierfl (run .*--testbed|link)": "tests/system/test_testbed.py",
    r"hierfl (cloud|edge|device) (?!.*--bench)": "tests/system/test_faults.py",
    r"\.venv/bin/hierfl device (?!.*--bench)": "tests/system/test_faults.py",
    r"hierfl accelerate": "tests/system/test_accelerate.py",
    r"hierfl compare tree.yaml --seeds 1,2,3": "benchmarks/accuracy.py",
    r"ssh ": "CONTRIBUTING.md",
    r"\.venv/bin/pre-commit": ".pre-commit-config.yaml",
}
"""A command -> the file that runs it, or what it is where only a person can run it."""

ITS_OWN = {"README.md": "two-rooms.yaml", "docs/index.md": "tree.yaml",
           "docs/experiments.md": "topology.yaml"}  # fmt: skip
"""Pages whose commands are for the topology that they show."""

SLOW = r"compare|sweep|tune|--bench"
"""Commands that start processes, or measure for seconds."""

PROGRAMS = r"hierfl|pip|python3?|make|podman|podman-compose|flwr|ssh|pre-commit|git|docker"
COMMAND = re.compile(
    rf"^(?:[\w-]*\$ +)?((?:\w+=\S+ +|sudo )*(?:\.venv/bin/)?(?:{PROGRAMS})\b .*)$", re.MULTILINE
)


def commands(text: str) -> Iterator[str]:
    """Yield the commands of the blocks that hold any."""
    for kind, block in blocks(text):
        if kind in ("", "bash", "console"):
            for line in COMMAND.findall(re.sub(r"\\\n\s*", "", block)):
                yield re.sub(r"\s+# .*", "", line).strip()


def is_elsewhere(command: str) -> bool:
    return any(re.match(pattern, command) for pattern in ELSEWHERE)


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


HERE = [
    pytest.param(
        document,
        command,
        id=f"{document.stem}: {command[:60]}",
        marks=[pytest.mark.slow] if re.search(SLOW, command) else [],
    )
    for document in DOCUMENTS
    if name_of(document) not in OWN_TESTS
    for command in commands(document.read_text())
    if not is_elsewhere(command)
]

PYTHON = [
    pytest.param(text, id=name_of(document))
    for document in DOCUMENTS
    if name_of(document) not in OWN_TESTS and document.name != "README.md"
    for kind, text in blocks(document.read_text())
    if kind == "python"
]
"""The README's is that of tests/link/test_stock_flower.py, with real nodes."""


def test_what_is_run_elsewhere_is_run_there() -> None:
    for file in {*OWN_TESTS.values(), *ELSEWHERE.values()}:
        assert (ROOT / file).exists(), file
    assert len(HERE) > 12 and len(PYTHON) >= 2
    assert {page for page in OWN_TESTS if not (ROOT / page).exists()} == set()


@pytest.fixture
def folder(hierfl: Run, tmp_path: Path, small: Path) -> Path:
    """Where the reader is: with the topologies that the pages speak of, and two runs."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    text = "edges: [{name: east, devices: [pi-1, east-0]}, {name: west, devices: 2}]\n"
    for name in ("topology", "two-rooms", "slow", "tree"):
        (tmp_path / f"{name}.yaml").write_text(f"name: {name}\ndata: {{dataset: digits}}\n{text}")
    for name in ("first", "second", "garden"):
        shutil.copytree(small, tmp_path / "runs" / name)
    return tmp_path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is done."""
    from hierfl import run

    folder = tmp_path_factory.mktemp("runs") / "small"
    keys = {
        "data": {"dataset": "digits"},
        "model": "mlp",
        "algorithm": {"rounds": 1, "edge_steps": 2},
    }
    run(keys, runtime="memory", out=folder, progress=False)
    return folder


@pytest.mark.parametrize(("document", "command"), HERE)
def test_a_command(document: Path, command: str, folder: Path, hierfl: Run) -> None:
    words = shlex.split(re.sub(r"^(\w+=\S+ +|sudo )+", "", command))
    assert words[0] in ("hierfl", ".venv/bin/hierfl"), f"nothing runs: {command}"
    words = words[1 : words.index(">") if ">" in words else None]
    if name_of(document) in ITS_OWN:
        for text in [text for kind, text in blocks(document.read_text()) if "edges:" in text]:
            (folder / ITS_OWN[name_of(document)]).write_text(text)
    if "plot" in words:
        pytest.importorskip("matplotlib")
    if words[0] in ("run", "compare", "tune", "sweep", "validate"):
        for text in SMALL[: 1 if words[0] == "sweep" else None]:
            words += ["--set", text]
    if words[0] == "compare":
        words += ["--seeds", "1", "--splits", "iid"]
    if "--out" in words and words[0] == "run":
        shutil.rmtree(words[words.index("--out") + 1])
    if "--page" in words and ":" in words[words.index("--page") + 1]:
        words[words.index("--page") + 1] = "127.0.0.1:0"
    done = hierfl(*words)
    assert done.code == 0 or (words[0] == "doctor" and done.code == 1), done.err


@pytest.mark.parametrize("text", PYTHON)
def test_a_block_of_python(text: str, folder: Path) -> None:
    exec(compile(text, "a block", "exec"), {})
