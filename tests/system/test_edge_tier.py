"""An edge tier under unchanged Flower apps, of the shapes that `flwr new` makes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.system.flower_apps import OLDER, write_app
from tests.system.harness import hierfl, line_with, nodes, started
from tests.system.test_accelerate import free_ports

pytestmark = pytest.mark.system

APPS = Path(__file__).parent / "apps"


def run_app(app: Path, folder: Path, *arguments: str, config: str = "") -> Any:
    """Run an app with 5 nodes to its end; return its results."""
    results = folder / "results.json"
    done = hierfl(
        "accelerate", str(app), "--nodes", "5", *arguments,
        "--run-config", f'results="{results}" {config}', cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(results.read_text())


def assert_equal(ours: Any, theirs: Any, rel: float = 1e-4) -> None:
    """Compare nested results, up to the rounding of sums in another order."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            assert_equal(ours[key], value, rel)
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_equal(one, other, rel)
    else:
        assert ours == pytest.approx(theirs, rel=rel, abs=1e-6)


@pytest.mark.parametrize(
    "name",
    ["numpy", *(pytest.param(name, marks=pytest.mark.slow) for name in ("pytorch", "sklearn"))],
)
def test_fedavg_at_both_tiers_is_flat_fedavg(name: str, tmp_path: Path) -> None:
    """5 nodes of different sizes, at two edges with 2 and 3 of them."""
    flat = run_app(APPS / name, tmp_path)
    tree = run_app(APPS / name, tmp_path, "--edges", "2")
    assert set(flat["train"]) == set(flat["evaluate"]) == {"1", "2", "3"}
    assert_equal(tree, flat)


def test_an_edge_runs_its_rounds_with_its_strategy(tmp_path: Path) -> None:
    """A median over each edge's nodes, twice, then FedAvg over the edges."""
    ours = run_app(
        APPS / "numpy", tmp_path, "--edges", "2", "--edge-rounds", "2",
        "--edge-strategy", "flwr.serverapp.strategy:FedMedian", config="num-server-rounds=1",
    )["arrays"]  # fmt: skip
    sys.path.insert(0, str(APPS / "numpy"))
    import numpy as np

    def trained(model: list[Any], partition: int, number: int) -> list[Any]:
        draws = np.random.default_rng([partition, number])
        return [0.9 * m + draws.standard_normal(m.shape).astype(np.float32) for m in model]

    start = [np.zeros((3, 4), np.float32), np.ones(4, np.float32)]
    mean, weights = [np.zeros((3, 4)), np.zeros(4)], {0: 1 + 2, 1: 3 + 4 + 5}
    for edge, partitions in enumerate([[0, 1], [2, 3, 4]]):
        model = start
        for number in (1, 2):
            all_ = [trained(model, partition, number) for partition in partitions]
            model = [np.median(np.stack(each), axis=0) for each in zip(*all_, strict=True)]
        mean = [m + weights[edge] / 15 * each for m, each in zip(mean, model, strict=True)]
    assert_equal([*ours.values()], [m.tolist() for m in mean])


TOPOLOGY = """
name: stock
restart: always
app:
  path: {app}
  run_config: {{results: "{results}", num-server-rounds: {rounds}}}
  edge_rounds: 2
cloud: {{address: "127.0.0.1:0"}}
edges:
  - {{name: east, address: "127.0.0.1:0", devices: 2}}
  - {{name: west, address: "127.0.0.1:0", devices: 2}}
"""


def write_topology(folder: Path, rounds: int) -> Path:
    """Write a topology with the NumPy app."""
    file = folder / "tree.yaml"
    text = TOPOLOGY.format(app=APPS / "numpy", results=folder / "results.json", rounds=rounds)
    file.write_text(text)
    return file


@pytest.mark.slow
@pytest.mark.parametrize("name", ["east", "east-1", "cloud"])
def test_who_is_killed_does_its_round_again(name: str, tmp_path: Path) -> None:
    """The NumPy app draws by partition and round: the result is that of an undisturbed run."""
    rounds, out = 60, tmp_path / "run"
    file = write_topology(tmp_path, rounds)
    done = hierfl("run", str(file), "--out", str(tmp_path / "calm"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    calm = json.loads((tmp_path / "results.json").read_text())
    with started("run", str(file), "--out", str(out), cwd=tmp_path) as launcher:
        line_with(launcher, "[ROUND 3/")
        told = " cloud " if name == "cloud" else f" --name {name} "
        (victim,) = [pid for pid, text in nodes(out).items() if told in f"{text} "]
        os.kill(victim, signal.SIGKILL)
        printed, said = launcher.communicate(timeout=80)
        assert launcher.returncode == 0, said
    if name == "cloud":
        assert "exchanges with the edges had been answered" in printed
        assert not (out / "checkpoints" / "replies").exists()
    else:
        assert "starts again" in (out / "logs" / f"{name}.log").read_text()
    assert json.loads((tmp_path / "results.json").read_text()) == calm
    answers = json.loads((out / "summary.json").read_text())["messages_up"]
    assert answers < 4 * rounds if name == "cloud" else answers >= 4 * rounds


def test_nodes_on_tls_that_are_started_one_by_one(tmp_path: Path) -> None:
    """As on real machines: each with a command of its own, one with an app folder of its own."""
    ports = free_ports(3)
    text = write_topology(tmp_path, 3).read_text() + "security: {certs: certs}\n"
    for port in ports:
        text = text.replace("127.0.0.1:0", f"127.0.0.1:{port}", 1)
    (tmp_path / "tree.yaml").write_text(text)
    assert hierfl("certs", "tree.yaml", "--out", "certs", cwd=tmp_path).returncode == 0
    copy = shutil.copytree(APPS / "numpy", tmp_path / "copy")
    others = [("edge", "east"), ("edge", "west"), *(("device", f"{e}-{i}") for e in ("east", "west") for i in (0, 1))]  # fmt: skip  # noqa: E501
    with ExitStack() as stack:
        running = {}
        for role, name in others:
            own = ["--set", f"app.path={copy}"] if name == "west-1" else []
            running[name] = stack.enter_context(
                started(role, "tree.yaml", "--name", name, *own, cwd=tmp_path)
            )
        done = hierfl("cloud", "tree.yaml", "--out", "out", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        for name, process in running.items():
            _, said = process.communicate(timeout=30)
            assert process.returncode == 0, (name, said)
    assert len(json.loads((tmp_path / "results.json").read_text())["train"]) == 3


def test_a_device_with_another_app_is_turned_away(tmp_path: Path) -> None:
    file = write_topology(tmp_path, 3)
    copy = shutil.copytree(APPS / "numpy", tmp_path / "copy")
    (copy / "quickstart_numpy" / "task.py").write_text("# another\n")
    (port, edge, _) = free_ports(3)
    text = file.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}", 1)
    file.write_text(text.replace("127.0.0.1:0", f"127.0.0.1:{edge}", 1))
    with (
        started("cloud", "tree.yaml", "--out", "out", cwd=tmp_path),
        started("edge", "tree.yaml", "--name", "east", cwd=tmp_path),
    ):
        done = hierfl("device", "tree.yaml", "--name", "east-0", "--set", f"app.path={copy}",
                      cwd=tmp_path)  # fmt: skip
    assert done.returncode == 1 and "has another model than this federation" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_revoked_device_is_turned_away(tmp_path: Path) -> None:
    text = write_topology(tmp_path, 3).read_text() + "security: {certs: certs}\n"
    for port in free_ports(3):
        text = text.replace("127.0.0.1:0", f"127.0.0.1:{port}", 1)
    (tmp_path / "tree.yaml").write_text(text)
    assert hierfl("certs", "tree.yaml", "--out", "certs", cwd=tmp_path).returncode == 0
    (tmp_path / "certs" / "revoked").write_text("east-0\n")
    with (
        started("cloud", "tree.yaml", "--out", "out", cwd=tmp_path),
        started("edge", "tree.yaml", "--name", "east", cwd=tmp_path),
    ):
        done = hierfl("device", "tree.yaml", "--name", "east-0", cwd=tmp_path)
    assert done.returncode == 1 and "the certificate of east-0 is revoked" in done.stderr
    assert "Traceback" not in done.stderr


FAULTY = """
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
import json, numpy as np
from pathlib import Path

client, server = ClientApp(), ServerApp()


@client.train()
def train(message, context):
    partition = context.node_config["partition-id"]
    arrays = message.content["arrays"].to_numpy_ndarrays()
    FAULT
    arrays = [each + partition for each in arrays]
    content = {"arrays": ArrayRecord(arrays), "metrics": MetricRecord({"num-examples": 1})}
    return Message(RecordDict(content), reply_to=message)


@server.main()
def main(grid, context):
    start = ArrayRecord([np.zeros(2)])
    result = FedAvg(fraction_evaluate=0.0).start(grid=grid, initial_arrays=start, num_rounds=1)
    arrays = [each.tolist() for each in result.arrays.to_numpy_ndarrays()]
    Path(context.run_config["results"]).write_text(json.dumps(arrays))
"""


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("if partition == 1: raise ValueError('no data here')", "ValueError: no data here"),
        ("if partition == 1: arrays = [np.zeros(3)]", "the shape (3,), where the model has (2,)"),
        ("if partition == 1: arrays = []", "it returned no array '0'"),
        ("if partition == 1: return None", "the app returned a NoneType, not a Message"),
    ],
    ids=["raises", "shape", "none", "no-message"],
)
def test_one_bad_device_does_not_stop_the_others(fault: str, said: str, tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", FAULTY.replace("FAULT", fault))
    results = tmp_path / "results.json"
    done = hierfl("accelerate", str(app), "--nodes", "4", "--edges", "2",
                  "--run-config", f'results="{results}"', cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "edge-0: node-1: " in done.stdout and said in done.stdout
    assert json.loads(results.read_text()) == [[pytest.approx((0 + 2 + 3) / 3)] * 2]


def test_an_app_that_fails_everywhere_ends_in_one_screen(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", FAULTY.replace("FAULT", "raise KeyError('weights')"))
    done = hierfl("accelerate", str(app), "--nodes", "4", "--edges", "2", cwd=tmp_path)
    assert done.returncode == 1
    assert re.search("every node failed; edge-[01] said", done.stderr), done.stderr
    assert "KeyError" in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) < 25


def test_an_app_of_the_older_kind_is_told_so(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", OLDER)
    done = hierfl("accelerate", str(app), "--nodes", "4", "--edges", "4",
                  "--run-config", f'results="{tmp_path / "r.json"}"', cwd=tmp_path)  # fmt: skip
    assert "older interface" in done.stdout + done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--edges", "7"], ["--edges", "7 edges cannot share 5 nodes"]),
        (["--edge-rounds", "2"], ["--edge-rounds", "--edges"]),
        (["--edges", "2", "--edge-strategy", "flwr.server.strategy:FedAvg"],
         ["app.edge_strategy", "older interface"]),
        (["--edges", "2", "--edge-strategy", "flwr.serverapp.strategy:QFedAvg"],
         ["app.edge_strategy", "without arguments"]),
        (["--edges", "2", "--edge-strategy", "nowhere:Strategy"], ["app.edge_strategy", "nowhere"]),
    ],
    ids=["edges", "rounds", "older", "arguments", "absent"],
)  # fmt: skip
def test_wrong_arguments(arguments: list[str], words: list[str], tmp_path: Path) -> None:
    done = hierfl("accelerate", str(APPS / "numpy"), "--nodes", "5", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) < 25
