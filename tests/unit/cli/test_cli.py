from __future__ import annotations

import gzip
import json
import logging
import os
import signal
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.launcher.processes import Processes
from hierfl import __version__
from hierfl.cli import main
from hierfl.config import Config, load_config
from hierfl.config.folder import fixed
from hierfl.errors import ConfigError, RunFailed
from hierfl.learning.sources import FORMS, IDX_STEMS
from hierfl.runs.folder import RESULTS, claimed

ROOT = Path(__file__).parents[3]
LIMIT = 60
TINY = [
    *("--set", "runtime=memory", "--set", "data.dataset=digits", "--set", "model=mlp"),
    *("--set", "algorithm.rounds=2", "--set", "algorithm.edge_steps=3"),
]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "hierfl", *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def topology(tmp_path: Path) -> Path:
    file = tmp_path / "topology.yaml"
    file.write_text("data: {dataset: digits}\nedges: [{name: east, devices: 3}]\n")
    return file


# -- arguments and exit codes ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["edge"], "Missing argument 'TOPOLOGY'.\n  See hierfl edge --help."),
        (["device", "t.yaml"], "Missing option '--name'.\n  See hierfl device --help."),
        (["run", "--bogus"], "No such option '--bogus'."),
        (["rnu"], "No such command 'rnu'."),
        (["data", "get"], "Missing argument 'NAME'.\n  See hierfl data get --help."),
        (["run", "a.yaml", "b.yaml"], "unexpected extra argument"),
        (["run", "--set"], "Option '--set' requires an argument."),
        (["run", "--set", "algorithm.round=1"], "algorithm.round: there is no such key"),
        (["run", "--set", "algorithm.name=signsdg"], "there is no algorithm 'signsdg'"),
        (["run", "--set", "downlink.codec=sgin"], "downlink.codec: unknown codec 'sgin'"),
        (["run", "--set", "downlink.bits=4"], "downlink.bits: codec 'sign' has no such parameter"),
        (["run", "--resume"], "--resume: a resumed run keeps its configuration"),
        (["run", "nowhere.yaml"], "nowhere.yaml: there is no such file"),
        (["validate", "nowhere.yaml"], "nowhere.yaml: there is no such file"),
        (["cloud", "nowhere.yaml"], "nowhere.yaml: there is no such file"),
        (["data", "get", "fashion"], "did you mean fashion-mnist?"),
        (["up", "cloud", "--address", "here"], "'--address': here should be host:port"),
        (
            ["up", "device", "--name", "pi", "--edge", "::1:9"],
            "'--edge': ::1:9 should be host:port",
        ),
    ],
)
def test_what_is_wrong_with_the_arguments_fits_on_a_screen(hierfl, arguments, says):
    result = hierfl(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("error: ")
    assert says in result.err
    assert len(result.err.splitlines()) <= 4
    assert not list(Path().iterdir())


@pytest.mark.parametrize("group", [[], ["data"]])
def test_no_command_shows_the_help(hierfl, group):
    code, out, err = hierfl(*group)
    assert code == 2
    assert "Usage: hierfl" in out + err
    assert "error" not in err


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["data", "get", "--help"]])
def test_help_ends_well(hierfl, arguments):
    assert hierfl(*arguments).code == 0


def test_the_help_says_what_an_argument_is(hierfl):
    assert "The topology file (YAML)." in hierfl("edge", "--help").out
    assert "fashion-mnist, mnist, cifar10 or digits." in hierfl("data", "get", "--help").out


def test_version(hierfl):
    assert hierfl("--version") == (0, f"hierfl {__version__}\n", "")


@pytest.mark.parametrize(
    ("raised", "code", "says"),
    [
        (None, 0, ""),
        (RunFailed("a node failed"), 1, "error: a node failed\n"),
        (ConfigError("", "a port is taken"), 2, "error: a port is taken\n"),
        (RunFailed(""), 1, ""),  # it has been said already
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_run_ends_as_the_launcher_does(hierfl, monkeypatch, raised, code, says):
    seen: list[tuple[Config, Path]] = []

    def run_local(config: Config, *, out: Path, processes: Processes) -> None:
        seen.append((config, out))
        assert processes.running == []
        if raised:
            raise raised

    monkeypatch.setattr("deploy.launcher.local.run_local", run_local)
    assert hierfl("run", "--out", "here") == (code, "", says)
    [(config, out)] = seen
    assert out == Path("here")
    assert load_config(out / "config.yaml") == fixed(config)


def test_another_exception_keeps_its_traceback(hierfl, monkeypatch):
    def run_local(config: Config, *, out: Path, processes: Processes) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("deploy.launcher.local.run_local", run_local)
    with pytest.raises(ZeroDivisionError, match="a defect"):
        main(["run"])


def test_the_users_own_exception_shows_its_place_and_no_traceback_of_hierfl(tmp_path, topology):
    (tmp_path / "own_data.py").write_text("def load():\n    return 1 / 0\n")
    arguments = command("validate", topology, "--set", "data.dataset=own_data:load")
    done = subprocess.run(
        arguments, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert 'own_data.py", line 2, in load\n    return 1 / 0\n' in done.stderr
    assert done.stderr.rstrip().endswith("ZeroDivisionError: division by zero")
    assert "Traceback" not in done.stderr


def test_what_fails_at_a_node_in_memory_is_one_error(hierfl):
    code, out, err = hierfl("run", *TINY, "--set", "algorithm.lr=1e38", "--set", "model=cnn")
    assert code == 1
    assert "accuracy" not in out
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: east: no device of east could vote in round 1, step 2")
    assert "too high an lr" in line
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_in_memory(tmp_path, number):
    out = tmp_path / "out"
    arguments = command("run", *TINY, "--set", "algorithm.rounds=100000", "--out", out)
    with subprocess.Popen(
        arguments, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            while not process.stdout.readline().startswith("round"):
                assert process.poll() is None
            process.send_signal(number)
            _, err = process.communicate(timeout=LIMIT)
        finally:
            process.kill()
    assert (process.returncode, err) == (130, "")
    assert not (out / "summary.json").exists()


# -- the run folder -------------------------------------------------------------------------------


def test_a_run_and_the_same_again_from_its_own_configuration(hierfl, tmp_path):
    code, out, err = hierfl("run", *TINY, "--out", "first")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()][:3] == ["demo:", "round", "round"]
    first = json.loads(Path("first/summary.json").read_text())
    assert (first["rounds"], first["steps"], first["devices"]) == (2, 6, 6)

    again = hierfl("run", "first/config.yaml", "--out", "second")
    assert again.code == 0
    second = json.loads(Path("second/summary.json").read_text())
    assert second["model_sha256"] == first["model_sha256"]
    assert second["bytes"] == first["bytes"]
    for name in ("config.yaml", "model.safetensors"):
        assert Path("second", name).read_bytes() == Path("first", name).read_bytes()

    before = {path: path.read_bytes() for path in Path("first").iterdir()}
    refused = hierfl("run", "first/config.yaml", "--out", "first")
    assert refused.code == 2
    assert refused.err.startswith("error: --out: first holds an earlier run's metrics.jsonl")
    assert {path: path.read_bytes() for path in Path("first").iterdir()} == before


def test_flowers_own_messages_are_not_shown(hierfl):
    assert hierfl("run", *TINY).err == ""
    assert logging.getLogger("flwr").getEffectiveLevel() == logging.WARNING


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/no/such"])
def test_a_place_that_is_no_folder(hierfl, place):
    Path("file").write_text("mine")
    result = hierfl("run", *TINY, "--out", place)
    assert result.code == 2
    assert result.err.startswith("error: --out: ")
    assert place in result.err
    assert Path("file").read_text() == "mine"


@pytest.fixture
def config() -> Config:
    return load_config(None)


def claim(config: Config, out: Path | None, source: Path | None = None) -> Path:
    """Own a run folder for a moment."""
    with claimed(config, out, source=source) as (folder, _):
        return folder


@pytest.mark.parametrize("name", RESULTS)
def test_no_result_is_overwritten(tmp_path, config, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(ConfigError, match=f"holds an earlier run's {name}"):
        claim(config, tmp_path)
    with pytest.raises(ConfigError):
        claim(config, tmp_path, tmp_path / "config.yaml")
    assert {path.name for path in tmp_path.iterdir()} == {name, ".lock"}


def test_what_the_launcher_has_prepared_is_no_obstacle(tmp_path, config):
    (tmp_path / "logs").mkdir()
    assert claim(config, tmp_path) == tmp_path
    file = tmp_path / "config.yaml"
    written = file.read_text()
    assert load_config(file) == fixed(config)
    assert claim(config, tmp_path) == tmp_path
    # The cloud's own configuration differs in the ports that the launcher has chosen.
    changed = load_config(file, ["cloud.address=127.0.0.1:4711"])
    assert claim(changed, tmp_path, file) == tmp_path
    assert file.read_text() == written


def test_another_configuration_is_not_overwritten(tmp_path, config):
    file = tmp_path / "config.yaml"
    file.write_text("# mine, with remarks\nedges: [{name: east, devices: 3}]\n")
    other = tmp_path / "other.yaml"
    other.write_text(file.read_text())
    for source in (None, other, tmp_path / "gone.yaml"):
        with pytest.raises(ConfigError, match="another configuration than this run's"):
            claim(config, tmp_path, source)
    assert file.read_text().startswith("# mine")


def test_runs_that_begin_in_the_same_second_have_folders_of_their_own(
    tmp_path, monkeypatch, config
):
    monkeypatch.chdir(tmp_path)
    places = [claim(config, None) for _ in range(4)]
    assert len(set(places)) == 4
    assert all(place.parent == Path("runs") for place in places)
    assert all(place.name.startswith("demo-2") for place in places)


# -- validate -------------------------------------------------------------------------------------


def test_validate_shows_the_tree_and_the_bytes(hierfl, topology):
    code, out, err = hierfl(
        "validate", topology, "--set", "model=mlp", "--set", "edges.east.devices=12"
    )
    assert (code, err) == (0, "")
    lines = [line.rstrip() for line in out.splitlines()]
    assert lines[0] == "demo: hier-signsgd, lr 0.001 (cosine), 40 rounds of 15 steps"
    assert lines[1] == "model mlp of 9,610 parameters, data digits (iid)"
    assert lines[2] == "cloud at 127.0.0.1:0"
    assert lines[3].endswith("east at 127.0.0.1:0, 12 devices")
    assert lines[4].endswith("east-0, east-1, east-2, east-3, east-4, east-5, ..., east-11")
    cells = [line.split() for line in lines]
    # 40 rounds of 15 ballots from 12 devices, ceil(9610 / 8) bytes each; 4 planes a report
    assert [
        "device",
        "up",
        "ballot",
        "step",
        "1,202",
        "7,200",
        "8.65",
        "MB",
        "277",
        "MB",
        "32x",
    ] in cells
    assert [
        "edge",
        "up",
        "report",
        "round",
        "4,808",
        "40",
        "192",
        "kB",
        "1.54",
        "MB",
        "8.0x",
    ] in cells
    assert max(map(len, lines)) <= 80


def test_validate_counts_the_devices_that_are_drawn(hierfl, topology):
    sets = ("--set", "algorithm.participation=0.25", "--set", "edges.east.devices=10")
    code, out, _ = hierfl("validate", topology, "--set", "model=mlp", *sets)
    assert code == 0
    assert "25% of each edge's devices in a round" in out
    cells = [line.split() for line in out.splitlines()]
    # 40 rounds of 15 ballots from 3 of 10 devices, but 40 bases for all of them
    assert ["device", "up", "ballot", "step", "1,202", "1,800"] in [row[:6] for row in cells]
    assert ["device", "down", "change", "round", "1,218", "400"] in [row[:6] for row in cells]


def test_validate_warns_of_links_too_slow_for_the_heartbeat(hierfl, topology):
    # 9,610 parameters of 4 bytes at 10,000 bits a second
    slow = ["--set", "model=mlp", "--set", "links.nodes={east-1: {down: 10kbit}}"]
    code, out, _ = hierfl("validate", topology, *slow)
    assert code == 0
    warning = out.partition("warning: ")[2]
    assert " ".join(warning.split()) == (
        "device down, model: 31 s on the link of east-1, longer than quorum.heartbeat (10 s): "
        "give it more"
    )
    assert "warning" not in hierfl("validate", topology, *slow, "--set", "quorum.heartbeat=32").out


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        (["model=cmm"], "no model 'cmm'"),
        (["model=resnet18x"], "did you mean resnet18?"),
        (["data.dataset=fashion"], "did you mean fashion-mnist?"),
        (["algorithm.name=hier-sdg"], "did you mean hier-sgd?"),
        (["uplink.codec=float32"], "cannot report with 'float32'"),
        (["downlink.codec=topk", "downlink.fraction=2.0"], "downlink.fraction"),
    ],
)
def test_validate_finds_what_is_wrong(hierfl, topology, sets, says):
    options = [part for text in sets for part in ("--set", text)]
    code, out, err = hierfl("validate", topology, *options)
    assert (code, out) == (2, "")
    assert says in err


def test_validate_needs_no_data_but_the_users_own(hierfl, topology, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HIERFL_DATA", raising=False)
    monkeypatch.setattr("hierfl.learning.sources.SYSTEM", tmp_path)
    for name in FORMS:
        assert hierfl("validate", topology, "--set", f"data.dataset={name}").code == 0
    (tmp_path / "own_points.py").write_text(
        "import torch\n"
        "def load():\n"
        "    half = torch.ones(6, 1, 5, 5), torch.arange(6) % 3\n"
        "    return half, half\n"
    )
    own = hierfl(
        "validate", topology, "--set", "data.dataset=own_points:load", "--set", "model=mlp"
    )
    assert own.code == 0
    assert "3,715 parameters" in own.out  # 25 x 128 + 128 + 128 x 3 + 3


def test_the_forms_of_the_data_sets_are_the_true_ones():
    from hierfl.config import load_config
    from hierfl.learning.loaded import known, load_data

    digits = known(load_data(load_config(None, ["data.dataset=digits"])))
    assert FORMS["digits"] == replace(digits, examples=0)


# -- data -----------------------------------------------------------------------------------------


def test_data_get_says_where_it_is_and_how_large(hierfl, tmp_path):
    folder = tmp_path / "mnist"
    folder.mkdir()
    (folder / "notes.txt").write_text("not counted")
    total = 0
    for stem, shape in zip(IDX_STEMS, [(2, 28, 28), (2,), (1, 28, 28), (1,)], strict=True):
        size = 28 * 28 * shape[0] if len(shape) == 3 else shape[0]
        head = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
        content = gzip.compress(head + bytes(size))
        total += len(content)
        (folder / f"{stem}.gz").write_bytes(content)
    code, out, err = hierfl("data", "get", "mnist", "--data-root", tmp_path)
    assert (code, out) == (0, f"{folder}  {total} B\n")
    assert "mnist is in" in err
    assert hierfl("data", "get", "digits").code == 0


# -- what starting costs --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "without"),
    [
        ("import hierfl.cli", "torch flwr grpc numpy pydantic rich"),
        ("import edge.main", "torch"),
        ("import cloud.views.base", "torch flwr rich"),
    ],
)
def test_nothing_is_imported_before_it_is_needed(program, without):
    check = f"import sys\n{program}\nprint(*(sys.modules.keys() & set({without.split()})))"
    done = subprocess.run(
        [sys.executable, "-c", check], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
