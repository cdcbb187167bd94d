"""`hierfl init`: every combination is a federation that can be run; nothing is overwritten."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hierfl.cli import main
from hierfl.cli.project import DATA, TASKS
from hierfl.learning.datasets import known_source
from hierfl.learning.tasks import BUILT_IN

IMAGES = ("classification", "reconstruction")
COMBINATIONS = [
    (data, task, machines)
    for data in ("own", "digits")
    for task in TASKS
    for machines in ("one", "hosts")
    if data == "own" or task in IMAGES
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("task", None)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code


def made(monkeypatch: pytest.MonkeyPatch, *options: str) -> Path:
    """Make a project and enter its folder."""
    assert run("init", "garden", *options) == 0
    monkeypatch.chdir("garden")
    return Path.cwd()


def flags(data: str, task: str, machines: str) -> list[str]:
    return [
        "--dataset",
        data,
        "--task",
        task,
        "--machines",
        machines,
        "--edges",
        "2",
        "--devices",
        "2",
    ]


def test_what_can_be_chosen_is_what_there_is() -> None:
    assert set(TASKS) == set(BUILT_IN)
    assert DATA[:2] == ("own", "digits")
    assert [known_source(name).name for name in DATA[2:]] == list(DATA[2:])


@pytest.mark.parametrize(("data", "task", "machines"), COMBINATIONS)
def test_every_combination_is_valid(
    data: str, task: str, machines: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    here = made(monkeypatch, *flags(data, task, machines))
    assert run("validate", "topology.yaml") == 0, capsys.readouterr().err
    assert (here / "hosts.yaml").exists() == (machines == "hosts")
    folders = sorted(path.name for path in (here / "data").glob("*")) if data == "own" else []
    assert folders == ([f"device-{i}" for i in range(1, 5)] if data == "own" else [])


@pytest.mark.parametrize("task", TASKS)
def test_each_task_learns_and_says_how_well(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of the model get better, on a device's own samples."""
    made(monkeypatch, *flags("own", task, "one"))
    losses = []
    for rounds in (1, 12):
        sets = ["--set", "runtime=memory", "--set", f"algorithm.rounds={rounds}"]
        assert run("run", "topology.yaml", "--out", f"runs/{rounds}", *sets) == 0
        lines = Path(f"runs/{rounds}/metrics.jsonl").read_text().splitlines()
        losses.append(json.loads(lines[-1])["train_loss"])
        sys.modules.pop("task")
    assert losses[1] < 0.8 * losses[0]
    assert run("evaluate", "runs/12", "--data", "data/device-1") == 0
    if task != "segmentation":  # a score is one number
        assert run("evaluate", "runs/12", "--data", "data/device-1", "--out", "scores.csv") == 0
        assert len(Path("scores.csv").read_text().splitlines()) > 200


def test_a_built_in_set_runs_as_its_readme_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = made(monkeypatch, *flags("digits", "classification", "hosts"))
    readme = (here / "README.md").read_text()
    commands = [line.split()[1:] for line in readme.splitlines() if line.startswith("hierfl ")]
    get, first, evaluate, certs, deploy, _ = commands
    for arguments in (
        get,
        [*first, "--set", "algorithm.rounds=2"],
        evaluate,
        certs,
        [*deploy, "--units"],
    ):
        assert run(*arguments) == 0, capsys.readouterr().err
    assert "/etc/hierfl/code/task.py" in capsys.readouterr().out


def test_nothing_is_overwritten(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("garden").mkdir()
    Path("garden/task.py").write_text("mine")
    assert run("init", "garden") == 2
    assert "garden/task.py is there already" in capsys.readouterr().err
    assert [path.name for path in Path("garden").iterdir()] == ["task.py"]
    assert Path("garden/task.py").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a b"], "cannot be a federation's name"),
        (["garden", "--dataset", "mnist", "--task", "regression"], "ten classes"),
        (["garden", "--task", "clasification"], "is not one of"),
        (["garden", "--edges", "0"], "0 is not in the range"),
    ],
)
def test_mistakes_are_one_screen(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("init", *arguments) == 2
    assert said in capsys.readouterr().err
    assert not Path("garden").exists()


def test_on_a_terminal_it_asks_for_what_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer(question: str, usual: object, **_: object) -> object:
        asked.append(question)
        return {"How many edges?": 1, "How many devices has each edge?": 5}.get(question, usual)

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.prompt", answer)
    here = made(monkeypatch, "--task", "reconstruction")
    assert len(asked) == 4
    assert len([*(here / "data").iterdir()]) == 5
