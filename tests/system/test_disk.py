"""Disks that fill up, folders that cannot be written, checkpoints that are damaged."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from hierfl.config import CLOUD
from hierfl.protocol.checkpoint_files import Checkpoints
from hierfl.protocol.checkpoint_store import CheckpointStore
from tests.system.harness import (
    LIMIT_S,
    TINY,
    hierfl,
    kill_all,
    line_with,
    metrics,
    nodes,
    started,
    summary,
)

pytestmark = pytest.mark.system

ROUNDS = 12
ARGUMENTS = [*TINY, "--set", f"algorithm.rounds={ROUNDS}", "--set", "algorithm.edge_steps=20",
             "--set", "edges.0.devices=2", "--set", "edges.1.devices=1"]  # fmt: skip
MEMORY = ["--set", "runtime=memory"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of the run in which nothing happens."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    done = hierfl("run", *ARGUMENTS, *MEMORY, "--out", str(out))
    assert done.returncode == 0, done.stderr
    return str(summary(out)["model_sha256"])


class Disk:
    """A file system of its own, in memory.

    Attributes:
        place: where it is mounted.
    """

    def __init__(self, place: Path, size: str) -> None:
        self.place = place
        self._mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs")

    def read_only(self, yes: bool) -> None:
        self._mount("-o", f"remount,{'ro' if yes else 'rw'}")

    def fill(self) -> None:
        """Leave no room."""
        with (self.place / "filler").open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 16))

    def make_room(self) -> None:
        (self.place / "filler").unlink()

    def _mount(self, *arguments: str) -> None:
        subprocess.run(["mount", *arguments, str(self.place)], check=True, capture_output=True)


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """A small disk, of the size that the test names; 16 MB otherwise."""
    try:
        yield Disk(tmp_path, getattr(request, "param", "16m"))
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a tmpfs needs rights that this process does not have")
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], capture_output=True, check=False)


def one_error(stderr: str, *words: str) -> None:
    """There is one screen, and it says what happened, without a traceback."""
    before, _, _ = stderr.partition("error: ")
    assert all(line.endswith("; trying again") for line in before.splitlines()), stderr
    assert "error: " in stderr and "Traceback" not in stderr, stderr
    assert len(stderr.splitlines()) < 25
    for word in words:
        assert word in stderr, stderr


FULL = os.strerror(errno.ENOSPC)
READ_ONLY = os.strerror(errno.EROFS)


@pytest.mark.slow
def test_a_full_disk_stops_the_run_which_goes_on_when_there_is_room(
    disk: Disk, undisturbed: str
) -> None:
    out = disk.place / "run"
    with started("run", *ARGUMENTS, "--out", str(out)) as run:
        line_with(run, "round  2/")
        disk.fill()
        _, stderr = run.communicate(timeout=LIMIT_S)
    assert run.returncode == 1
    one_error(stderr, "cannot write", FULL)
    assert not nodes(out) and not (out / "summary.json").exists()
    disk.make_room()
    done = hierfl("run", "--resume", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert summary(out)["model_sha256"] == undisturbed
    assert [line["round"] for line in metrics(out)] == list(range(1, ROUNDS + 1))


@pytest.mark.slow  # it is tried again for 20 s
def test_metrics_that_cannot_be_written_are_one_error(disk: Disk) -> None:
    out = disk.place / "run"
    short = ["--set", "algorithm.rounds=2000", "--set", "algorithm.edge_steps=1"]
    with started("run", *TINY, *short, *MEMORY, "--out", str(out)) as run:
        line_with(run, "round    2/")
        disk.fill()
        _, stderr = run.communicate(timeout=LIMIT_S)
    assert run.returncode == 1
    one_error(stderr, f"cannot write {out}/metrics.jsonl: {FULL}")


@pytest.mark.slow
@pytest.mark.parametrize("disk", ["16k"], indirect=True)
def test_a_model_that_does_not_fit_is_one_error_and_no_file(disk: Disk) -> None:
    out = disk.place / "run"
    done = hierfl("run", *TINY, *MEMORY, "--set", "algorithm.rounds=1", "--out", str(out))
    assert done.returncode == 1
    one_error(done.stderr, f"cannot write {out}/model.safetensors: {FULL}", "Make room")
    kept = [".lock", "config.yaml", "facts.json", "metrics.jsonl"]
    assert sorted(path.name for path in out.iterdir()) == kept


def test_a_read_only_folder_is_one_error(disk: Disk) -> None:
    out = disk.place / "run"
    disk.read_only(True)
    for runtime in ("process", "memory"):
        done = hierfl("run", *TINY, "--set", f"runtime={runtime}", "--out", str(out))
        assert done.returncode == 1, "it may be writable again"
        one_error(done.stderr, "--out", f"cannot write into {out}: {READ_ONLY}")


@pytest.mark.slow
def test_a_folder_that_became_read_only_keeps_what_it_has(disk: Disk, undisturbed: str) -> None:
    out = disk.place / "run"
    with started("run", *ARGUMENTS, "--out", str(out)) as run:
        line_with(run, "round  2/")
        kill_all(run, out)
    disk.read_only(True)
    done = hierfl("run", "--resume", "--out", str(out))
    assert done.returncode == 1
    one_error(done.stderr, "cannot write", READ_ONLY)
    assert not nodes(out)
    disk.read_only(False)
    done = hierfl("run", "--resume", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert summary(out)["model_sha256"] == undisturbed


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize(
    ("victim", "damage"),
    [
        ("cloud", flip),
        pytest.param("east", empty, marks=pytest.mark.slow),
        pytest.param("east-0", cut, marks=pytest.mark.slow),
        pytest.param("west-0", flip, marks=pytest.mark.slow),
    ],
)
def test_a_damaged_checkpoint_is_done_without(
    victim: str, damage: Callable[[Path], None], undisturbed: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    parent = victim.split("-", 1)[0] if "-" in victim else "cloud"
    arguments: list[str] = [*ARGUMENTS]
    for seen in range(2, 30):
        with started("run", *arguments, "--out", str(out)) as run:
            line_with(run, f"round {seen:>2}/")
            kill_all(run, out)
        newest = [newest_of(name, out) for name in (victim, parent)]
        if newest[0] == newest[1]:
            break
        # It was hit between its parent's checkpoint and its own, where one file is not enough.
        arguments = ["--resume"]
    damage(file_of(victim, newest[0], out))
    done = hierfl("run", "--resume", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert summary(out)["model_sha256"] == undisturbed
    assert [line["round"] for line in metrics(out)] == list(range(1, ROUNDS + 1))
    log = (out / "logs" / f"{victim}.log").read_text()
    assert re.search(rf"{victim}\.{newest[0]}\.state is of no use: it is damaged", log)


def newest_of(name: str, out: Path) -> int:
    return checkpoints(name, out).rounds()[-1]


def checkpoints(name: str, out: Path) -> Checkpoints:
    run = CheckpointStore(out / "checkpoints", CLOUD).current()
    assert run is not None
    return CheckpointStore(out / "checkpoints", name).run(run)


def file_of(name: str, round_: int, out: Path) -> Path:
    (found,) = (out / "checkpoints").glob(f"*/{name}.{round_}.state")
    return found
