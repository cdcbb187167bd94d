"""What must hold before a run is gone on with; and what is done where its loss is accepted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hierfl.config import CLOUD, Config, load_config
from hierfl.config.digest import agreed
from hierfl.errors import ConfigError, RunFailed
from hierfl.planning.plan import resolve
from hierfl.protocol.checkpoint import Checkpoint
from hierfl.protocol.checkpoint_store import CheckpointStore
from hierfl.runs.folder import LOCK, claimed, owned
from hierfl.runs.recovery import behind

CONFIG = resolve(load_config(None, ["edges.0.devices=2", "edges.1.devices=1"]))
NODES = list(CONFIG.roles())
TREE = {"one": ("one-0",), "two": ("two-0", "two-1")}


def wrote(folder: Path, name: str, rounds: tuple[int, ...], config: Config = CONFIG) -> None:
    files = CheckpointStore(folder / "checkpoints", name, agreed(config)).enter("run")
    for round_ in rounds:
        files.write(Checkpoint("run", round_, {"w": np.zeros(3, np.float32)}, {}))


def half(folder: Path, done: int = 3) -> None:
    """Write what a run leaves behind that went down at a round's start."""
    for name in NODES:
        wrote(folder, name, (done, done + 1))
    lines = [json.dumps({"round": round_, "wall_s": 1.0}) + "\n" for round_ in range(1, done + 1)]
    (folder / "metrics.jsonl").write_text("".join(lines))
    (folder / "config.yaml").write_text(CONFIG.to_yaml())


def go_on(
    folder: Path, *, config: Config = CONFIG, accept_loss: bool = False, nodes: list[str] = NODES
) -> list[str]:
    """Return what is told of a run that goes on."""
    source = folder / "config.yaml"
    how = {"resume": True, "nodes": nodes, "accept_loss": accept_loss}
    with claimed(config, folder, source=source, **how) as (_, told):  # type: ignore[arg-type]
        return told


def spoil(folder: Path, name: str, *rounds: int) -> None:
    for round_ in rounds:
        (folder / "checkpoints" / "run" / f"{name}.{round_}.state").write_bytes(b"spoilt")


def test_a_run_that_lost_nothing_goes_on(tmp_path: Path) -> None:
    half(tmp_path)
    assert go_on(tmp_path) == []


@pytest.mark.parametrize(
    "sets",
    [["seed=2"], ["algorithm.lr=0.5", "algorithm.rounds=7"], ["data.partition={kind: shards}"]],
)
def test_an_edited_configuration_is_refused_by_its_keys(sets: list[str], tmp_path: Path) -> None:
    half(tmp_path)
    edited = resolve(load_config(tmp_path / "config.yaml", sets))
    for nodes in (NODES, [CLOUD]):
        with pytest.raises(ConfigError, match="a run of another configuration") as caught:
            go_on(tmp_path, config=edited, accept_loss=True, nodes=nodes)
        for text in sets:
            assert f"\n  {text.partition('=')[0]}" in caught.value.message
        assert caught.value.exit_code == 2


def test_what_need_not_be_the_same_may_be_edited(tmp_path: Path) -> None:
    half(tmp_path)
    sets = ["quorum.step_timeout=5.0", "data.root=/data", "cloud.address=127.0.0.1:4700"]
    assert go_on(tmp_path, config=resolve(load_config(tmp_path / "config.yaml", sets))) == []


@pytest.mark.parametrize(
    ("name", "rounds", "lost"),
    [
        ("cloud", (4,), False), ("cloud", (3,), False), ("cloud", (3, 4), True),
        ("east", (4,), False), ("east", (3,), False), ("east", (3, 4), True),
        ("east-0", (4,), False), ("east-0", (3,), False), ("east-0", (3, 4), True),
    ],
)  # fmt: skip
def test_one_copy_is_enough_and_none_is_a_loss(
    name: str, rounds: tuple[int, ...], lost: bool, tmp_path: Path
) -> None:
    half(tmp_path)
    spoil(tmp_path, name, *rounds)
    if not lost:
        assert go_on(tmp_path) == []
        return
    with pytest.raises(ConfigError, match=rf"{name}\b.* damaged") as caught:
        go_on(tmp_path)
    assert caught.value.hint is not None and "--accept-loss" in caught.value.hint
    assert caught.value.exit_code == 2
    told = go_on(tmp_path, accept_loss=True)
    assert len(told) == 1 and name in told[0]


def test_files_that_are_gone_are_a_loss_too(tmp_path: Path) -> None:
    half(tmp_path)
    for file in (tmp_path / "checkpoints" / "run").glob("east-1.*"):
        file.unlink()
    with pytest.raises(ConfigError, match="the state of east-1 for round 4 is lost"):
        go_on(tmp_path)
    assert go_on(tmp_path, nodes=[CLOUD]) == [], "the others' state is on their machines"


def test_below_a_quorum_of_all_only_damage_is_a_loss(tmp_path: Path) -> None:
    half(tmp_path)
    some = resolve(load_config(tmp_path / "config.yaml", ["quorum.devices=0.5"]))
    for file in (tmp_path / "checkpoints" / "run").glob("east-1.*"):
        file.unlink()
    assert go_on(tmp_path, config=some) == [], "it may never have come"
    spoil(tmp_path, "west-0", 3, 4)
    with pytest.raises(ConfigError, match="the state of west-0"):
        go_on(tmp_path, config=some)


def as_a_file(folder: Path) -> None:
    gone(folder)
    (folder / "checkpoints").write_text("mine")


def gone(folder: Path) -> None:
    (folder / "checkpoints").rename(folder / "elsewhere")


@pytest.mark.parametrize("lose", [as_a_file, gone, lambda folder: spoil(folder, CLOUD, 3, 4)])
def test_a_run_that_is_lost_begins_again_only_when_told(
    lose: Callable[[Path], None], tmp_path: Path
) -> None:
    half(tmp_path)
    lose(tmp_path)
    for nodes in (NODES, [CLOUD]):
        with pytest.raises(ConfigError, match=r"all checkpoints of the cloud are (damaged|gone)"):
            go_on(tmp_path, nodes=nodes)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    told = go_on(tmp_path, accept_loss=True)
    assert len(told) == 1 and told[0].endswith("beginning again at round 1")
    assert (tmp_path / "metrics.lost.jsonl").read_bytes() == before
    assert not (tmp_path / "metrics.jsonl").exists()
    assert go_on(tmp_path) == [], "it is asked once"


def test_a_run_that_had_not_begun_has_lost_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG.to_yaml())
    assert go_on(tmp_path) == []
    (tmp_path / "metrics.jsonl").touch()
    (tmp_path / "checkpoints").mkdir()
    assert go_on(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "2 rounds are lost (1, 2)"),
        ('{"round": 1}\nx\n{"round": 3}\n', "1 round is lost (2)"),
    ],
)
def test_damaged_metrics_are_said_to_be(text: str, said: str, tmp_path: Path) -> None:
    half(tmp_path)
    (tmp_path / "metrics.jsonl").write_text(text)
    assert go_on(tmp_path) == [f"{tmp_path}/metrics.jsonl is damaged: the lines of {said}"]


# -- who can go on in the same bits ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("cloud", "rounds", "lost"),
    [
        (5, {}, []),
        (5, {"two": {4}}, []),  # it redoes round 4
        (5, {"two": {5}, "two-1": {4}}, ["two-1"]),  # its edge cannot help it any more
        (5, {"two-1": {4}}, []),  # the cluster goes back to round 4
        (5, {"two-0": {5}, "two-1": {4}}, ["two-0"]),  # and this one cannot
        (5, {"two": {3}}, ["two"]),
        (5, {"one": set(), "two-0": {2, 3}}, ["one", "two-0"]),
        (4, {"one": {5, 6}}, ["one"]),
        (1, {"one": set(), "one-0": set(), "two": {2}, "two-0": {2}}, []),  # nobody knew anything
    ],
)  # fmt: skip
def test_who_is_behind(cloud: int, rounds: dict[str, set[int]], lost: list[str]) -> None:
    nodes = [*TREE, *(device for devices in TREE.values() for device in devices)]
    held = {name: rounds.get(name, {cloud - 1, cloud}) for name in nodes}
    assert behind(TREE, cloud, held) == lost


# -- owners ---------------------------------------------------------------------------------------


def test_a_run_folder_has_one_owner(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with claimed(CONFIG, out) as (folder, _):
        assert folder == out and out.stat().st_mode & 0o777 == 0o700
        for resume in (False, True):
            with (
                pytest.raises(RunFailed, match=f"{out} is in use by process {os.getpid()}"),
                claimed(CONFIG, out, resume=resume),
            ):
                pass
    with claimed(CONFIG, out):
        pass


def test_a_node_of_a_launcher_is_in_its_launcher_s_folder(tmp_path: Path) -> None:
    with claimed(CONFIG, tmp_path), claimed(CONFIG, tmp_path, launched=True):
        pass


def test_a_node_s_state_has_one_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hierfl.runs.folder.ENDING_S", 0.2)
    state = tmp_path / "state"
    with owned(state, "east-0"), owned(state, "east-1"):
        assert state.stat().st_mode & 0o777 == 0o700
        with pytest.raises(RunFailed) as caught, owned(state, "east-0"):
            pass
        assert "the state of east-0" in caught.value.message


def test_a_place_where_no_state_can_be_is_the_moment_s_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunFailed, match="cannot write into"), owned(tmp_path / "file", "east-0"):
        pass
    assert not (tmp_path / LOCK).exists()


def test_another_node_may_make_its_checkpoints_folder_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The launcher starts all nodes at once, and the cloud looks at the folder as they write."""
    exists = Path.exists

    def another_is_faster(path: Path) -> bool:
        there = exists(path)
        if path.name == "checkpoints":
            path.mkdir(exist_ok=True)
        return there

    monkeypatch.setattr(Path, "exists", another_is_faster)
    with claimed(CONFIG, tmp_path / "run", resume=True, launched=True) as (folder, _):
        assert (folder / "checkpoints").is_dir()
