"""Algorithms side by side: what is in the table, and that no run is made twice."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.experiments.compare import plan, table
from deploy.experiments.plot import curves
from deploy.experiments.trials import folder_name
from hierfl.errors import ConfigError
from tests.unit.conftest import Run

BOTH = "hier-signsgd,hier-sgd"


def summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


def test_the_table_is_what_the_runs_say(hierfl: Run, tree: Path) -> None:
    code, out, err = hierfl(
        "compare", tree, "--algorithms", BOTH, "--seeds", "1,2,5", "--splits", "iid,inter",
        "--out", "out", "--set", "algorithm.momentum=0.5",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "12/12  hier-sgd, inter, seed 5: " in out
    numbers = json.loads(Path("out/table.json").read_text())
    assert numbers["splits"]["inter"] == {"kind": "shards", "classes": 2}  # there are no more
    assert numbers["seeds"] == [1, 2, 5]
    d = numbers["parameters"]
    for name, row in numbers["algorithms"].items():
        for split, cell in row["accuracy"].items():
            runs = [Path("out") / f"{name}-{split}-{seed}" for seed in (1, 2, 5)]
            accuracy = [summary(run)["accuracy"] for run in runs]
            assert cell["of_seeds"] == accuracy
            assert cell["mean"] == pytest.approx(np.mean(accuracy))
            assert cell["std"] == pytest.approx(np.std(accuracy, ddof=1))
            assert all("momentum: 0.5" in (run / "config.yaml").read_text() for run in runs)
    bits = {name: row["bits_up"] for name, row in numbers["algorithms"].items()}
    assert bits == {"hier-signsgd": pytest.approx(8 * -(-d // 8) / d), "hier-sgd": 32}
    text = Path("out/table.md").read_text()
    assert text in out
    signs = numbers["algorithms"]["hier-signsgd"]["accuracy"]["iid"]
    assert f"| {100 * signs['mean']:.1f} ± {100 * signs['std']:.1f} |" in text
    assert len({line.count("|") for line in text.splitlines() if "|" in line}) == 1


def test_data_may_stay_as_the_topology_has_them(hierfl: Run, tree: Path) -> None:
    """The picture has those rounds that were evaluated."""
    sets = ["data.partition={kind: shards, classes: 2}", "evaluate.every=2", "algorithm.rounds=3"]
    options = [part for text in sets for part in ("--set", text)]
    code, _, err = hierfl(
        "compare", tree, "--algorithms", "hier-sgd", "--seeds", "1", "--splits", "topology",
        "--out", "out", *options,
    )  # fmt: skip
    assert (code, err) == (0, "")
    numbers = json.loads(Path("out/table.json").read_text())
    assert numbers["splits"] == {"topology": {"kind": "shards", "classes": 2}}
    comparison = plan(tree, sets, ["hier-sgd"], ["topology"], ["1"], Path("out"))
    assert curves(comparison.of("hier-sgd", "topology"))[0].tolist() == [2, 3]


def test_variants_of_one_algorithm_have_settings_of_their_own(hierfl: Run, tree: Path) -> None:
    variants = "hier-fedavg{local_steps=2,rounds=3,downlink.codec=sign},hier-fedavg{lr=0.05}"
    command = ("compare", tree, "--algorithms", variants, "--seeds", "1", "--splits", "iid",
               "--out", "out", "--set", "algorithm.lr=0.3")  # fmt: skip
    code, out, err = hierfl(*command)
    assert (code, err) == (0, "")
    numbers = json.loads(Path("out/table.json").read_text())
    first, second = numbers["algorithms"].values()
    assert list(numbers["algorithms"])[1] == "hier-fedavg{lr=0.05}"
    assert (first["lr"], first["rounds"], second["lr"], second["rounds"]) == (0.3, 3, 0.05, 2)
    assert "| `hier-fedavg{lr=0.05}` | 0.05 | 2 of 3 |" in out
    d = numbers["parameters"]
    # 9 ballots and 6 decisions in float32, the first model and 3 signs with scales of 4 tensors.
    assert first["bytes"] == 4 * d * (9 + 6 + 1) + 3 * (-(-d // 8) + 16)
    assert first["bits_up"] == 32


def test_what_is_done_is_not_run_again_and_what_was_cut_off_is(hierfl: Run, tree: Path) -> None:
    command = ("compare", tree, "--algorithms", "hier-signsgd", "--splits", "iid,dir", "--out",
               "out", "--seeds")  # fmt: skip
    assert hierfl(*command, "1").code == 0
    done, cut = Path("out/hier-signsgd-iid-1"), Path("out/hier-signsgd-dir-1")
    before, table_before = summary(cut), Path("out/table.json").read_text()
    written = (done / "summary.json").stat().st_mtime_ns
    assert "accuracy" in (done / "logs" / "run.log").read_text()
    (cut / "summary.json").unlink()
    (cut / "metrics.jsonl").write_text('{"round": 1, "steps"')
    assert hierfl(*command, "1").code == 0
    assert (done / "summary.json").stat().st_mtime_ns == written
    assert summary(cut)["model_sha256"] == before["model_sha256"]
    assert Path("out/table.json").read_text() == table_before

    all_written = [run.stat().st_mtime_ns for run in Path("out").glob("*/summary.json")]
    assert hierfl(*command, "1").code == 0
    assert all_written == [run.stat().st_mtime_ns for run in Path("out").glob("*/summary.json")]
    other = hierfl(*command, "1", "--set", "algorithm.lr=0.5")
    assert other.code == 2
    assert "differs from this run's configuration" in other.err


def test_a_table_of_other_arguments_is_not_replaced(tmp_path: Path) -> None:
    earlier = {"algorithms": {"hier-sgd": {}}, "splits": {"iid": {}}, "seeds": [1, 2]}
    (tmp_path / "table.json").write_text(json.dumps(earlier))
    sets = ["data.dataset=tests.system.tiny:load", "model=mlp"]
    for algorithms, splits, seeds, lost in (
        (["hier-signsgd"], ["iid"], ["1", "2"], "--algorithms hier-sgd"),
        (["hier-sgd"], ["dir"], ["1", "2"], "--splits iid"),
        (["hier-sgd"], ["iid"], ["2"], "--seeds 1"),
    ):
        with pytest.raises(ConfigError, match=f"is the table of other arguments: it has {lost} "):
            plan(None, sets, algorithms, splits, seeds, tmp_path)
    more = plan(None, sets, ["hier-sgd", "ef-lion"], ["iid"], ["1", "2"], tmp_path)
    assert len(more.trials) == 4


def test_runs_side_by_side_are_the_same_and_their_errors_arrive(hierfl: Run, tree: Path) -> None:
    command = ("compare", tree, "--algorithms", BOTH, "--seeds", "1")
    assert hierfl(*command, "--splits", "iid", "--out", "one").code == 0
    assert hierfl(*command, "--splits", "iid", "--out", "two", "--jobs", "2").code == 0
    for name in ("hier-signsgd-iid-1", "hier-sgd-iid-1"):
        one, two = (summary(Path(folder) / name) for folder in ("one", "two"))
        assert one["model_sha256"] == two["model_sha256"]
    failed = hierfl(
        *command, "--splits", "dir", "--out", "no", "--jobs", "2", "--set", "edges.0.devices=600"
    )
    assert failed.code == 2
    assert re.match(r"error: run hier-\w+-dir-1 ended with exit code 2; the end of", failed.err)
    assert "  | error: data.partition: dirichlet leaves" in failed.err


def test_without_matplotlib_there_is_a_table(
    hierfl: Run, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    command = ("compare", tree, "--algorithms", "hier-signsgd", "--splits", "iid", "--seeds", "3")
    code, out, _ = hierfl(*command)
    assert code == 0
    assert "pip install 'hierfl[plots]'" in out
    assert "seed 3." in Path("runs/compare-tree/table.md").read_text()
    assert not Path("runs/compare-tree/accuracy.png").exists()

    monkeypatch.undo()
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tree.parent)
    assert "picture: " in hierfl(*command).out
    assert Path("runs/compare-tree/accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_the_curves_end_where_the_runs_do(hierfl: Run, tree: Path) -> None:
    splits, seeds = ["iid"], ["1", "2"]
    assert hierfl("compare", tree, "--algorithms", BOTH, "--splits", "iid", "--seeds", "1,2",
                  "--out", "out").code == 0  # fmt: skip
    comparison = plan(tree, [], BOTH.split(","), splits, seeds, Path("out"))
    numbers = table(comparison)
    for name, row in numbers["algorithms"].items():
        rounds, sent, accuracy = curves(comparison.of(name, "iid"))
        assert rounds.tolist() == [1, 2]
        assert accuracy[:, -1].tolist() == row["accuracy"]["iid"]["of_seeds"]
    # Of `hier-sgd`, a round has 3 gradients up, 2 means down and the model or its change.
    assert sent.tolist() == [4 * numbers["parameters"] * 6 * round_ for round_ in (1, 2)]


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--splits", "iid,intra", "no split 'intra'"),
        ("--algorithms", "hier-signsgd,signsdg", "there is no algorithm 'signsdg'"),
        ("--algorithms", "hier-signsgd,,x", "expected values separated by commas"),
        ("--algorithms", "hier-sgd{lr}", "'lr' is no KEY=VALUE"),
        ("--algorithms", "hier-sgd{lr=1}x", "expected NAME or NAME{KEY=VALUE,...}"),
        ("--algorithms", "hier-sgd{lr=1", "'}' is missing"),
        ("--algorithms", "hier-fedavg{local_stops=1}", "did you mean local_steps?"),
        ("--seeds", "1,one", "seed: "),
        ("--set", "data.dataset=tests.system.tiny:gone", "has no attribute 'gone'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(
    hierfl: Run, tree: Path, option: str, value: str, says: str
) -> None:
    arguments = {"--algorithms": "hier-signsgd", option: value}
    result = hierfl("compare", tree, *[word for pair in arguments.items() for word in pair])
    assert result.code == 2
    assert says in result.err
    assert not Path("runs").exists()


def test_edges_have_classes_of_their_own_as_long_as_there_are_enough(tmp_path: Path) -> None:
    some = {"kind": "shards", "classes": 3}
    for edges, inter in ((2, {"kind": "disjoint"}), (5, {"kind": "disjoint"}), (6, some)):
        file = tmp_path / f"{edges}.yaml"
        listed = ", ".join(f"{{name: e{i}, devices: 1}}" for i in range(edges))
        file.write_text(f"data: {{dataset: digits}}\nedges: [{listed}]\n")
        comparison = plan(file, [], ["hier-sgd"], ["inter"], ["1"], tmp_path / "out")
        assert comparison.partitions == {"inter": inter}


def test_folders_say_what_is_in_them() -> None:
    assert folder_name("my.algo:Own", "algorithm.lr=0.1", 3) == "my.algo_Own-algorithm.lr=0.1-3"
