"""A damaged run folder: every command that reads one says so in a line, or reads what is whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from deploy.experiments.trials import Trial
from hierfl import load_run
from hierfl.errors import HierflError
from tests.unit.conftest import Run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from hierfl import run

    folder = tmp_path_factory.mktemp("whole") / "run"
    keys: dict[str, Any] = {"data": {"dataset": "digits"}, "model": "mlp",
                            "algorithm": {"rounds": 3, "edge_steps": 2}}  # fmt: skip
    run(keys, runtime="memory", out=folder, progress=False)
    return folder


def changed(**values: Any) -> Callable[[list[bytes]], bytes]:
    """Return what puts values into the second of three lines; None takes a key away."""

    def damage(lines: list[bytes]) -> bytes:
        row = {**json.loads(lines[1]), **values}
        row = {key: value for key, value in row.items() if value is not ...}
        return b"".join([lines[0], json.dumps(row).encode() + b"\n", lines[2]])

    return damage


METRICS: dict[str, tuple[Callable[[list[bytes]], bytes], list[int]]] = {
    "truncated": (lambda lines: lines[0] + lines[1][:40], [1]),
    "binary": (lambda lines: bytes(range(256)) * 4, []),
    "empty": (lambda lines: b"", []),
    "other JSON": (lambda lines: b"[]\n5\nnull\n", []),
    "NaN": (changed(loss=float("nan")), [1, 3]),
    "no bytes": (changed(bytes=...), [1, 3]),
    "one link": (changed(bytes={"device_up": 3}), [1, 3]),
    "bytes as text": (changed(bytes="many"), [1, 3]),
    "round as text": (changed(round="two"), [1, 3]),
    "time is null": (changed(wall_s=None), [1, 3]),
    "quorum as text": (changed(quorum={"east": "x"}), [1, 3]),
    "huge": (changed(loss=10**400), [1, 3]),
    "out of order": (lambda lines: lines[2] + lines[0] + lines[1], [1, 2, 3]),
    "twice": (lambda lines: lines[0] + lines[1] + lines[1] + lines[2], [1, 2, 3]),
}

READERS = (["report", "run"], ["report", "run", "whole", "-o", "both.html"], ["status", "run"],
           ["plot", "run", "--x", "wall_s"])  # fmt: skip


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("ended", [True, False], ids=["ended", "going on"])
def test_a_damaged_metrics_jsonl(name: str, ended: bool, whole: Path, hierfl: Run) -> None:
    damage, rounds = METRICS[name]
    shutil.copytree(whole, "whole")
    shutil.copytree(whole, "run")
    file = Path("run/metrics.jsonl")
    file.write_bytes(damage(file.read_bytes().splitlines(keepends=True)))
    if not ended:
        Path("run/summary.json").unlink()
    found = load_run("run")
    assert [row["round"] for row in found.metrics] == rounds
    assert bool(found.damaged) == (name != "empty")
    assert found._repr_html_() and str(found)
    for command in READERS:
        done = hierfl(*command)
        nothing = command[0] == "plot" and not rounds
        assert done.code == (2 if nothing else 0), (command, done.err)
        assert len(done.err.splitlines()) < 6
    if found.damaged:
        text = Path("run/report.html").read_text()
        assert all(line in text for line in found.damaged)


FILES: dict[str, list[bytes | None]] = {
    "config.yaml": [b"", b"\xff\xfe", b"- 1", b"x: [", b"of_an_older_version: 3\n", None],
    "summary.json": [b'{"bytes"', bytes(range(256)), b"[1]", b'{"bytes":{}}', None],
    "status.json": [b"", b"[]", b'{"edges":3}', b'{"edges":[{}],"training":true}', None],
    "metrics.jsonl": [None],
    "facts.json": [b"", b"[]", b"{}", None],
    "model.safetensors": [b"", b"xx", None],
}
"""A file of a run folder -> its damaged contents; None: it is a folder."""


@pytest.mark.parametrize(
    ("name", "content"), [(name, each) for name, all_ in FILES.items() for each in all_]
)
def test_any_other_file_is_read_or_refused_in_one_screen(
    name: str, content: bytes | None, whole: Path, hierfl: Run
) -> None:
    shutil.copytree(whole, "whole")
    shutil.copytree(whole, "run")
    file = Path("run", name)
    file.unlink(missing_ok=True)
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    codes = {}
    for command in (
        *READERS,
        ["evaluate", "run"],
        ["export", "run", "--out", "model.pt"],
        ["run", "--resume", "--out", "run"],
    ):
        done = hierfl(*command)
        assert done.code in (0, 1, 2), command
        assert "Traceback" not in done.err and len(done.err.splitlines()) < 6, done.err
        codes[command[0]] = done.code
    with suppress(HierflError):
        load_run("run").model()
    if name == "config.yaml":
        assert codes["report"] == codes["plot"] == codes["evaluate"] == 2


def test_a_damaged_run_of_an_experiment_is_named(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    trial = Trial(load_run(whole).config, tmp_path / "run")
    assert trial.done and trial.summary()["rounds"] == 3
    (tmp_path / "run" / "summary.json").write_text("{")
    with pytest.raises(HierflError, match=r"summary\.json is damaged"):
        trial.summary()
