"""Which of the user's files travel: what a topology names and what that imports, and no more."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest
import yaml

from deploy.containers.compose import compose
from deploy.project.own_code import MOST_BYTES, own_code
from deploy.ssh.desired_state import needs
from deploy.ssh.facts import survey
from deploy.ssh.inventory import Host, Paths
from deploy.ssh.package import Package
from deploy.ssh.ssh import Remote
from deploy.ssh.units import Unit, unit_text
from hierfl.config import Config, load_config
from hierfl.config.read import read_config
from hierfl.errors import ConfigError
from tests.system.flower_apps import EMPTY, write_app

EDGES = "edges=[{name: e, devices: [d, f]}]"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def config_of(*sets: str) -> Config:
    return load_config(None, [EDGES, *sets])


def test_a_topology_without_code_brings_nothing(folder: Path) -> None:
    put(folder, {"task.py": "", "mlp.py": ""})
    assert not own_code(config_of("model=mlp")).files()


def test_a_module_brings_what_it_imports_from_beside_it(folder: Path) -> None:
    put(folder, {
        "task.py": "import json\nimport torch\nfrom helpers import one\n",
        "helpers.py": "def one():\n    import late.deep\n",
        "late/__init__.py": "from . import other",
        "late/deep.py": "",
        "late/table.json": "{}",
        "late/__pycache__/deep.cpython-311.pyc": "",
        "late/.hidden/x.py": "",
        "json.py": "the standard library's is imported",
        "stranger.py": "",
    })  # fmt: skip
    code = own_code(config_of("task=task:Mine"))
    assert [str(source) for source in code.sources] == ["helpers.py", "late", "task.py"]
    assert [*code.files()] == [
        "helpers.py", "late/__init__.py", "late/deep.py", "late/table.json", "task.py",
    ]  # fmt: skip


def test_every_key_that_names_code_counts(folder: Path) -> None:
    put(folder, {f"{name}.py": "" for name in "abcde"})
    hops = "downlink.codec=d:X", "uplink.codec=e:X"
    named = "model={'a:x': {width: 3}}", "data.dataset=b:x", "algorithm.name=c:X"
    code = own_code(config_of(*named, *hops))
    assert set(code.files()) == {f"{name}.py" for name in "abcde"}


def test_a_folder_that_is_no_package_comes_in_parts(folder: Path) -> None:
    put(folder, {"pkg/nets.py": "from pkg.sub import layers\nfrom . import near",
                 "pkg/sub/layers.py": "", "pkg/near.py": "", "pkg/far.py": ""})  # fmt: skip
    code = own_code(config_of("model=pkg.nets:build"))
    assert set(code.files()) == {"pkg/nets.py", "pkg/sub/layers.py", "pkg/near.py"}


def test_a_project_with_src_brings_its_package_and_names_what_it_needs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pip install -e leaves it: the package is on the path, and not in the current folder."""
    put(folder, {
        "app/src/my_app_13/__init__.py": "",
        "app/src/my_app_13/task.py": "",
        "app/pyproject.toml": '[project]\nname = "my-app"\n'
                              'dependencies = ["pandas>=2", "hierfl[plots]>=0.1"]\n',
    })  # fmt: skip
    monkeypatch.setattr(sys, "path", [str(folder / "app/src"), *sys.path])
    code = own_code(config_of("task=my_app_13.task:Mine"))
    assert set(code.files()) == {"my_app_13/__init__.py", "my_app_13/task.py"}
    assert code.requirements == ("pandas>=2",)


def test_what_is_installed_stays(folder: Path) -> None:
    assert own_code(config_of("model=torchvision.models:alexnet")).sources == ()


@pytest.mark.parametrize(
    ("files", "reference", "said"),
    [
        ({}, "absent:x", "there is no module named 'absent'"),
        ({"task.py": "import x y"}, "task:x", "task.py:1"),
        ({"task/__init__.py": "", "task/a b.txt": ""}, "task:x", "other characters"),
        ({"task/__init__.py": "", "task/b.bin": "x" * (MOST_BYTES + 1)}, "task:x", "data.root"),
    ],
)
def test_mistakes_name_the_file(
    files: Mapping[str, str], reference: str, said: str, folder: Path
) -> None:
    put(folder, files)
    with pytest.raises(ConfigError) as caught:
        own_code(config_of(f"task={reference}")).files()
    assert said in str(caught.value) + str(caught.value.hint)


# -- over ssh -------------------------------------------------------------------------------------


def test_a_host_gets_the_code_and_a_change_of_it_restarts_its_nodes(folder: Path) -> None:
    put(folder, {"task.py": "1", "pkg/__init__.py": ""})
    config, host = config_of("task=task:Mine"), Host(name="shelf", nodes=("e", "d"))
    first = needs(config, host, {"task.py": b"1", "pkg/__init__.py": b""})
    there = {entry.path: entry for entry in first.entries}
    paths = [path for path in there if path.startswith("/etc/hierfl/code")]
    assert paths == ["/etc/hierfl/code", "/etc/hierfl/code/pkg", "/etc/hierfl/code/task.py",
                     "/etc/hierfl/code/pkg/__init__.py"]  # fmt: skip
    assert {(there[path].mode, there[path].owner) for path in paths[2:]} == {(0o644, "root")}
    again = needs(config, host, {"task.py": b"2", "pkg/__init__.py": b""})
    device = Unit("device", "d")
    assert first.fingerprint(device, None) != again.fingerprint(device, None)
    assert "WorkingDirectory=/etc/hierfl/code\n" in unit_text("device", config, host, "python")


class Here:
    """Runs the scripts for a host on this machine."""

    def root(self, script: str, stdin: bytes = b"") -> str:
        done = subprocess.run(["sh", "-e", "-c", script], input=stdin, capture_output=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()


def test_a_module_that_is_gone_is_found_on_the_host(folder: Path) -> None:
    paths = Paths(venv=f"{folder}/venv", config=f"{folder}/etc", state=f"{folder}/var")
    host = Host(name="shelf", nodes=("e", "d"), paths=paths)
    wanted = needs(config_of("task=task:Mine"), host, {"pkg/task.py": b"1"})
    put(folder, {"etc/code/pkg/task.py": "1", "etc/code/pkg/gone.py": ""})
    found = survey(cast(Remote, Here()), wanted)
    code = f"{folder}/etc/code/pkg"
    assert sorted(found.held) == [f"{code}/gone.py", f"{code}/task.py"]
    assert found.entries[f"{code}/task.py"].startswith(hashlib.sha256(b"1").hexdigest())


def test_each_host_is_told_where_its_data_are() -> None:
    config = config_of("data={root: 'data/{name}', partition: {kind: own}}", "start_from=m.pt")
    own = Host(name="pi", nodes=("d",), data="/home/pi/data")
    roots = {}
    for host in (own, Host(name="hub", nodes=("cloud",))):
        topology = next(e for e in needs(config, host).entries if e.path.endswith("topology.yaml"))
        told = read_config((topology.content or b"").decode())
        roots[host.name] = told.data_root(host.nodes[0])
        assert told.start_from == Path("/var/lib/hierfl/m.pt")
    assert roots == {"pi": Path("/home/pi/data"), "hub": Path("/var/lib/hierfl/data/cloud")}


def test_what_the_code_needs_is_installed_and_a_change_of_it_noticed() -> None:
    one, other = Package("w", b"", b"", ("pandas",)), Package("w", b"", b"", ("pandas>=2",))
    assert len({one.fingerprint(), other.fingerprint(), Package("w", b"", b"").fingerprint()}) == 3


# -- in containers --------------------------------------------------------------------------------


def test_containers_get_the_code_and_each_its_own_data(folder: Path) -> None:
    put(folder, {"task.py": "import pkg", "pkg/__init__.py": "", "tree.yaml":
                 "task: task:Mine\ndata: {root: 'data/{name}', partition: {kind: own}}\n"
                 "edges: [{name: e, devices: [d, f]}]\n"})  # fmt: skip
    put(folder, {"pyproject.toml": '[project]\nname = "x"\ndependencies = ["pandas"]\n'})
    text = compose(Path("tree.yaml"), [])
    assert "# The image must have pandas.\n" in text
    services = yaml.safe_load(text)["services"]
    for service in services.values():
        assert {"./task.py:/code/task.py:ro", "./pkg:/code/pkg:ro"} < set(service["volumes"])
        assert service["working_dir"] == "/code"
    for name, service in services.items():
        mounts = [text for text in service["volumes"] if ":/data:" in text]
        assert mounts == ([f"./data/{name}:/data:ro"] if name in ("d", "f") else [])


def test_a_flower_app_travels_whole_and_is_found_there(folder: Path) -> None:
    """In containers and on machines; its data are its own affair."""
    app = write_app(folder / "my app", EMPTY)
    put(app, {"data.csv": "1", "__pycache__/parts.pyc": ""})
    put(folder, {"tree.yaml": f"app: my app\n{EDGES.replace('=', ': ', 1)}\n"})
    with pytest.raises(ConfigError, match="its name has other characters"):
        own_code(load_config(Path("tree.yaml"))).files()
    app.rename(folder / "app")
    put(folder, {"tree.yaml": f"app: app\n{EDGES.replace('=', ': ', 1)}\n"})
    config = load_config(Path("tree.yaml"))
    code = own_code(config)
    assert {*code.files()} == {"app/pyproject.toml", "app/parts.py", "app/data.csv"}
    assert code.requirements == ("flwr",)
    host = Host(name="pi", nodes=("e", "d", "f"), user="hierfl")
    (text,) = [e.content for e in needs(config, host, code.files()).entries
               if e.path.endswith("topology.yaml")]  # fmt: skip
    there = read_config((text or b"").decode()).app
    assert there is not None and str(there.path) == f"{host.paths.config}/code/app"
    services = yaml.safe_load(compose(Path("tree.yaml"), []))["services"]
    for service in services.values():
        assert "app.path=/code/app" in service["command"]
        assert "./app:/code/app:ro" in service["volumes"]
        assert not any("/data" in each for each in service["volumes"])
