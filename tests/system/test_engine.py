"""Flower's own engine: SuperLinks and SuperNodes, one `flwr run`, the hash of the direct run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from deploy.flower.commands import SuperLink
from deploy.launcher.ports import Ports
from hierfl.config import load_config
from tests.system.engine import (
    LIMIT_S,
    NODES,
    PROGRAMS,
    ROOT,
    TINY,
    Engine,
    ancestors,
    engine,
    seen,
)
from tests.system.flower_apps import EMPTY, write_app
from tests.system.harness import hierfl, line_with, metrics, started, summary, wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ENDLESS = TINY | {"algorithm.rounds": 1_000_000, "algorithm.schedule": "constant"}


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of the same federation in one process."""
    out = tmp_path_factory.mktemp("direct") / "run"
    return in_memory(TINY, out)


def in_memory(config: Mapping[str, object], out: Path) -> str:
    """Run what a run config says in one process; return the model's hash."""
    keys = {key: value for key, value in config.items() if key != "devices"}
    sets = [part for k, v in keys.items() for part in ("--set", f"{k}={v}")]
    done = hierfl("run", *NODES, *sets, "--set", "runtime=memory", "--out", str(out))
    assert done.returncode == 0, done.stderr
    return str(summary(out)["model_sha256"])


@pytest.mark.slow
def test_one_flwr_run_trains_the_whole_tree_over_tls(direct: str, tmp_path: Path) -> None:
    certs, topology = tmp_path / "certs", tmp_path / "tree.yaml"
    topology.write_text("edges:\n- {name: east, devices: 2}\n- {name: west, devices: 1}\n")
    assert hierfl("certs", str(topology), "--out", str(certs)).returncode == 0
    out = tmp_path / "run"
    with engine(tmp_path / "home", "--set", f"security.certs={certs}") as here:
        with here.run(**TINY, out=str(out), certs=str(certs)) as run:
            seen(run, "round 4/4")
            assert direct in seen(run, "model ")
            run.wait(LIMIT_S)
        assert here.status("cloud") == ["finished:completed"]
        assert here.status("east") == here.status("west") == ["finished:completed"]
    assert summary(out)["model_sha256"] == direct
    assert [line["round"] for line in metrics(out)] == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_device_that_crashes_rejoins_and_a_stopped_run_ends_everywhere(tmp_path: Path) -> None:
    """A killed ClientApp and a restarted SuperNode are sent for again; `flwr stop` reaches all."""
    out = tmp_path / "run"
    with engine(tmp_path / "home") as here, here.run(**ENDLESS, out=str(out)) as run:
        number = number_of(run)
        seen(run, "round       2/")
        drain = threading.Thread(target=run.stdout.read, daemon=True)  # type: ignore[union-attr]
        drain.start()
        for what in ("flwr-clientapp", "flower-supernode"):
            kill(here, what, "east-1")
            before = len(metrics(out))
            wait_until(partial(lambda before: len(metrics(out)) > before + 2, before), LIMIT_S)
        stop(here, number)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_stopped_run_ends_everywhere_without_links_too(tmp_path: Path) -> None:
    """Stopped while the edges are at work on a round."""
    slow = ENDLESS | {"algorithm.edge_steps": 30, "link": "flower", "wait": 300.0}
    with engine(tmp_path / "home") as here, here.run(**slow, out=str(tmp_path / "run")) as run:
        number = number_of(run)
        seen(run, "link = flower: ")
        drain = threading.Thread(target=run.stdout.read, daemon=True)  # type: ignore[union-attr]
        drain.start()
        log = here.home / "logs" / "supernode-east-0.log"
        wait_until(lambda: log.read_text().count("Sent successfully") > 3, LIMIT_S)
        stop(here, number)


def number_of(run: subprocess.Popen[str]) -> str:
    """Return the number of a run that has just been started."""
    found = re.search(r"started run (\d+)", seen(run, "started run"))
    assert found is not None
    return found[1]


def stop(here: Engine, number: str) -> None:
    """Stop the cloud's run, and see that nothing of it is left anywhere soon."""
    here.flwr("stop", number, "cloud")
    stopped = time.monotonic()
    wait_until(lambda: not at_work(here))
    took = time.monotonic() - stopped
    assert took < 30, f"{took:.1f} s"
    for superlink in ("cloud", "east", "west"):
        assert "running" not in here.status(superlink)


def at_work(here: Engine) -> list[str]:
    """Return the processes that run apps."""
    apps = ("flwr-clientapp", "flwr-serverapp", "flwr run")
    return [c for c in here.processes().values() if any(app in c for app in apps)]


def kill(here: Engine, program: str, name: str) -> None:
    """Kill a node's SuperNode, or the ClientApp that it runs."""
    nodes = {pid: c for pid, c in here.processes().items() if "flower-supernode" in c}
    (supernode,) = [pid for pid, command in nodes.items() if f'name="{name}"' in command]
    if program == "flower-supernode":
        os.kill(supernode, signal.SIGKILL)
        return
    for pid, command in here.processes().items():
        if program in command and supernode in ancestors(pid):
            os.kill(pid, signal.SIGKILL)
            return
    raise AssertionError(f"{name} runs no ClientApp")


OWN = """
from torch.nn import functional
from helpers_13 import smoothing
import hierfl

class Smooth(hierfl.Classification):
    def loss(self, model, batch):
        inputs, labels = batch
        return functional.cross_entropy(model(inputs), labels, label_smoothing=smoothing)
"""


def app_with(folder: Path, files: Mapping[str, str]) -> Path:
    """Return the folder of an app that is hierfl's, with modules of one's own."""
    app = folder / "app"
    app.mkdir()
    for name, text in files.items():
        (app / name).write_text(text)
    ours = (ROOT / "pyproject.toml").read_text()
    sections = ours[ours.index("[tool.flwr.app]") : ours.index("[tool.ruff]")]
    build = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
    project = '[project]\nname = "app"\nversion = "1.0.0"\nlicense = "Apache-2.0"\n'
    (app / "pyproject.toml").write_text(build + project + sections)
    return app


@pytest.mark.slow
def test_own_code_travels_with_the_app(tmp_path: Path) -> None:
    """The modules are in the app's folder alone; Flower ships it to all nodes."""
    out = tmp_path / "run"
    app = app_with(tmp_path, {"smooth_13.py": OWN, "helpers_13.py": "smoothing = 0.2"})
    config = {key: value for key, value in TINY.items() if key != "data.dataset"}
    config |= {"task": "smooth_13:Smooth", "data.dataset": "digits"}
    sets = [part for k, v in config.items() if k != "devices" for part in ("--set", f"{k}={v}")]
    memory = ["--set", "runtime=memory", "--out", str(tmp_path / "memory")]
    done = hierfl("run", *NODES, *sets, *memory, cwd=app)
    assert done.returncode == 0, done.stderr
    expected = str(summary(tmp_path / "memory")["model_sha256"])
    with engine(tmp_path / "home") as here:
        here.app = app
        with here.run(**config, out=str(out)) as run:
            assert expected in seen(run, "model ")
            run.wait(LIMIT_S)


@pytest.mark.slow
def test_a_warm_start_with_a_part_of_the_devices_has_the_same_bits(tmp_path: Path) -> None:
    first = tmp_path / "first"
    in_memory(TINY, first)
    again = TINY | {
        "algorithm.name": "ef-lion",
        "algorithm.participation": 0.5,
        "start_from": str(first / "model.safetensors"),
    }
    memory = in_memory(again, tmp_path / "memory")
    with engine(tmp_path / "home") as here:
        with here.run(**again, out=str(tmp_path / "run")) as run:
            seen(run, "model " + memory)
            run.wait(LIMIT_S)
        wait_until(lambda: "running" not in here.status("east") + here.status("west"))


@pytest.mark.slow
def test_what_is_missing_is_named_at_the_cloud(tmp_path: Path) -> None:
    with engine(tmp_path / "home") as here:
        with here.run(**TINY | {"devices": 4}, wait=60.0, out=str(tmp_path / "a")) as run:
            seen(run, "only 3 of 4 devices are attached: east 2, west 1")
            seen(run, "or set a smaller `devices` in the run config")
        with here.run(**TINY | {"algorithm.lr": -1.0}, out=str(tmp_path / "b")) as run:
            seen(run, "algorithm.lr: ")
        with here.run(**TINY | {"data.dataset": "tests.system.tiny:gone"}) as run:
            seen(run, "has no attribute 'gone'")


@pytest.mark.slow
def test_a_bundle_over_flowers_limit_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """The limit is Flower's, and so are the words; no SuperLink need be there."""
    app = write_app(tmp_path / "app", EMPTY)
    (app / "weights.json").write_text(os.urandom(11_000_000).hex())
    home = tmp_path / "home"
    home.mkdir()
    link = SuperLink("cloud", "127.0.0.1:1", None)
    (home / "config.toml").write_text(link.connection())
    done = subprocess.run(
        [PROGRAMS / "flwr", "run", str(app), "cloud"], capture_output=True, text=True,
        timeout=LIMIT_S, env=Engine(home, None).environment, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in said and len(said.splitlines()) < 10
    for word in ("FAB size exceeds", "10,485,760 bytes", "fab-exclude"):
        assert word in said


@pytest.mark.slow
def test_two_nodes_of_one_name_are_refused(tmp_path: Path) -> None:
    with engine(tmp_path / "home", "--set", "edges.1.devices=[west-0]") as here:
        config = (here.home / "config.toml").read_text()
        east = re.search(r'superlink\."east"\]\naddress = "([^"]+)"', config)
        assert east is not None
        more = ["up", "device", "--name", "east-0", "--edge", east[1], "--home",
                str(tmp_path / "more")]  # fmt: skip
        with started(*more):
            wait_until(lambda: len(json.loads(
                here.flwr("supernode", "list", "east", "--format", "json"))["nodes"]) == 3
            )  # fmt: skip
            with here.run(**TINY, wait=150.0) as run:
                seen(run, "east-0 is here already: no two nodes may have one name")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_without_a_port_of_our_own_the_bits_are_the_same(tmp_path: Path) -> None:
    short = TINY | {"algorithm.edge_steps": 2, "algorithm.rounds": 2}
    memory = in_memory(short, tmp_path / "memory")
    with engine(tmp_path / "home") as here:
        with here.run(**short, link="flower", out=str(tmp_path / "run")) as run:
            warning = seen(run, "link = flower: ")
            figures = re.search(r"takes (\S+) s .* about 11, .*: (\d+):(\d\d):(\d\d) ", warning)
            assert figures is not None, warning
            each, *clock = map(float, figures.groups())
            assert each > 1
            assert np.dot(clock, [3600, 60, 1]) == pytest.approx(11 * each, abs=2)
            seen(run, "model " + memory)
            run.wait(LIMIT_S)
        wait_until(lambda: "running" not in here.status("east") + here.status("west"))


@pytest.mark.slow
def test_a_tree_of_machines_that_are_brought_up_one_by_one(tmp_path: Path) -> None:
    """The commands for four machines, on one; the SuperNodes are known by registered keys.

    One of them is started by hand, without a name: it has the one under which it is registered.
    """
    certs, topology = tmp_path / "certs", tmp_path / "tree.yaml"
    topology.write_text("edges:\n- {name: east, devices: 2}\n")
    assert hierfl("certs", str(topology), "--out", str(certs)).returncode == 0
    with Ports() as ports:
        cloud, east, here = (ports.fix("", "127.0.0.1:0") for _ in range(3))
        secure = ["--certs", str(certs), "--home"]
        machines = {
            "cloud": ["cloud", "--address", cloud],
            "east": ["edge", "--name", "east", "--cloud", cloud, "--address", east,
                     "--devices", "2"],
            "east-0": ["device", "--name", "east-0", "--edge", east],
        }  # fmt: skip
        with ExitStack() as stack:
            for name, arguments in machines.items():
                up = stack.enter_context(started("up", *arguments, *secure, str(tmp_path / name)))
                line_with(up, "up: ")
            by_hand = stack.enter_context(supernode(east, here, certs, "east-1", tmp_path / "hand"))
            engine = Engine(tmp_path / "cloud", None)
            with engine.run(
                **TINY | {"edges": 1, "devices": 2}, certs=str(certs), out=str(tmp_path / "run")
            ) as run:
                seen(run, "model ")
                run.wait(LIMIT_S)
            at_the_edge = Engine(tmp_path / "east", None)  # which knows the way to the cloud's
            assert at_the_edge.status("cloud") == ["finished:completed"]
            by_hand.terminate()
            assert by_hand.wait(LIMIT_S) == 0
            for name in machines:
                done = hierfl("down", "--home", str(tmp_path / name))
                assert done.returncode == 0, done.stderr
    assert summary(tmp_path / "run")["devices"] == 2
    edges = load_config(tmp_path / "run" / "config.yaml").tree()
    assert edges == {"east": ("east-0", "east-1")}


@contextmanager
def supernode(
    superlink: str, address: str, certs: Path, key: str, home: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a SuperNode with Flower's own command; its node config has no name."""
    process = subprocess.Popen(
        [PROGRAMS / "flower-supernode", "--superlink", superlink, "--port", address.split(":")[1],
         "--root-certificates", certs / "ca.crt", "--auth-supernode-private-key",
         certs / f"{key}.ssh", "--node-config", f'certs="{certs}"'],
        env=Engine(home, None).environment, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


OWN_DATA = {
    "task": "own_18:Line", "model": "linear", "data.dataset": "{csv: {target: y}}",
    "data.partition.kind": "own", "data.validation": 0.2, "evaluate.metric": "mae",
    "algorithm.edge_steps": 4, "algorithm.rounds": 3,
}  # fmt: skip


@pytest.mark.slow
def test_devices_with_data_of_their_own_enrol_and_train(tmp_path: Path) -> None:
    """Each SuperNode's node config names its folder; the task travels with the app."""
    data, out = tmp_path / "data", tmp_path / "run"
    for number, name in enumerate(("east-0", "east-1", "west-0")):
        (data / name).mkdir(parents=True)
        rows = [f"{x},{number + 2 * x}" for x in range(10 + number)]
        (data / name / "rows.csv").write_text("\n".join(["x,y", *rows]))
    app = app_with(tmp_path, {"own_18.py": "import hierfl\nclass Line(hierfl.Regression): pass\n"})
    sets = [part for k, v in OWN_DATA.items() for part in ("--set", f"{k}={v}")]
    root = ["--set", f"data.root={data}/{{name}}"]
    memory = ["--set", "runtime=memory", "--out", str(tmp_path / "memory")]
    done = hierfl("run", *NODES, *sets, *root, *memory, cwd=app)
    assert done.returncode == 0, done.stderr
    expected = summary(tmp_path / "memory")
    with engine(tmp_path / "home", *root) as here:
        here.app = app
        with here.run(**OWN_DATA, devices=3, out=str(out)) as run:
            assert expected["model_sha256"] in seen(run, "model ")
            run.wait(LIMIT_S)
    assert summary(out)["mae"] == expected["mae"]
