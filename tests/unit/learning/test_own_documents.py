"""docs/data.md and docs/tasks.md: every block is run, in the order of the page."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from hierfl.cli import main
from hierfl.config.read import make_config
from hierfl.learning.loaded import load_all
from hierfl.learning.setup import first_model, make_trainer
from hierfl.planning.plan import resolve

DOCS = Path(__file__).parents[3] / "docs"
README = DOCS.parent / "README.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"# ([\w.-]+\.(?:py|yaml))\n")
RNG = np.random.default_rng(1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folders and files that the pages speak of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    known = set(sys.modules)
    columns = ["temperature", "humidity", "light", "soil"]
    for box in ("pi-1", "pi-2"):
        _csv(tmp_path / "garden" / box / "1.csv", columns, RNG.normal(size=(60, 4)))
    _csv(tmp_path / "new.csv", columns, RNG.normal(size=(5, 4)))
    _csv(tmp_path / "power" / "a" / "1.csv", ["t", "kwh"], RNG.normal(size=(40, 2)))
    _csv(tmp_path / "power" / "1.csv", ["t", "kwh"], RNG.normal(size=(40, 2)))
    for name in ("early", "late"):
        rows = [[f"{value:.3f}", "sun" if value > 0 else "rain"] for value in RNG.normal(size=40)]
        _csv(tmp_path / "labelled" / f"{name}.csv", ["pressure", "weather"], rows)
    (tmp_path / "arrays").mkdir()
    np.savez(tmp_path / "arrays" / "1.npz", x=RNG.normal(size=(50, 6)), y=np.arange(50) % 3)
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(6):
            pixels = RNG.integers(0, 256, (30, 30 + number, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{number}.png")
    (tmp_path / "book.txt").write_text("It was a dark and stormy night. " * 40)
    for name in ("a", "b"):
        (tmp_path / "series" / name).mkdir(parents=True)
        np.save(tmp_path / "series" / name / "series.npy", RNG.normal(size=100).cumsum())
    for name in ("house-1", "house-2"):
        (tmp_path / "meters" / name).mkdir(parents=True)
        table = torch.from_numpy(RNG.random((100, 25), np.float32))
        torch.save(table, tmp_path / "meters" / name / "meter.pt")
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def _csv(file: Path, columns: list[str], rows: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
    file.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(("page", "least"), [("data.md", 12), ("tasks.md", 12)])
def test_every_block_runs(page: str, least: int, folder: Path) -> None:
    blocks = BLOCK.findall((DOCS / page).read_text())
    assert len(blocks) >= least
    for kind, text in blocks:
        run(kind, text, folder)


def test_the_second_section_of_the_readme_works_as_written(folder: Path) -> None:
    section = README.read_text().split("\n## ")[2]
    assert section.startswith("Your data, your task\n")
    [(kind, text)] = BLOCK.findall(section)
    prose = [line for line in BLOCK.sub("", section).splitlines()[1:] if line]
    assert kind == "yaml" and len(prose) <= 10
    (folder / "garden").rename(folder / "data")
    (folder / "garden.yaml").write_text(text)
    for command in ("init garden", "run garden/topology.yaml", "run garden.yaml"):
        assert f"hierfl {command}" in section
        options = ["--set", "runtime=memory"] if command.startswith("run") else []
        options += ["--set", "algorithm={rounds: 1, edge_steps: 2}"] if options else []
        with pytest.raises(SystemExit) as end:
            main([*command.split(), *options])
        assert not end.value.code


def run(kind: str, text: str, folder: Path) -> None:
    """Write a block that begins with a file's name into that file; run any other."""
    if named := NAMED.match(text):
        (folder / named[1]).write_text(text)
    elif kind == "yaml":
        learn(yaml.safe_load(text))
    elif kind == "python":
        exec(compile(text, "a block", "exec"), {})
    elif text.startswith("error: "):
        assert re.fullmatch(_pattern(text), mistaken(folder))
    else:
        for line in text.splitlines():
            command(line)


def learn(part: dict[str, Any]) -> None:
    """Let two devices take a step with a part of a topology."""
    tree = {"edges": [{"name": "e", "devices": ["d", "f"]}], **part}
    config = resolve(make_config(tree))
    held, facts = load_all(config)
    first_model(config, held["d"], facts)
    for name in ("d", "f"):
        loss = make_trainer(config, name, held[name], facts).gradient(np.random.default_rng(0))
        assert np.isfinite(loss)


def command(line: str) -> None:
    program, *arguments = shlex.split(line)
    assert program == "hierfl", line
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0, line


def mistaken(folder: Path) -> str:
    """Return what is said of the page's own task after the change that the page shows."""
    text = (folder / "energy.py").read_text()
    (folder / "wrong.py").write_text(text.replace(", targets)", ", targets.nothing)"))
    from hierfl.config import load_config
    from hierfl.errors import HierflError, render

    config = resolve(load_config(folder / "energy.yaml", ["task=wrong:Energy"]))
    held, facts = load_all(config)
    with pytest.raises(HierflError) as caught:
        make_trainer(config, "house-1", held["house-1"], facts)
    assert caught.value.exit_code == 2
    return render(caught.value) + "\n"


def _pattern(text: str) -> str:
    """Return a pattern for a screen in which the path and the line may be others."""
    escaped = re.sub(r'File "[^"]*", line \d+', "HERE", text)
    return re.escape(escaped).replace("HERE", r'File "[^"]*", line \d+')
