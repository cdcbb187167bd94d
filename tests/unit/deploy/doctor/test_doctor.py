"""What `hierfl doctor` finds, held against faults that are really there."""

from __future__ import annotations

import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.doctor import network, resources, tls, workload
from deploy.doctor.finding import Finding
from deploy.doctor.main import findings
from deploy.doctor.versions import versions
from hierfl.cli import main
from hierfl.config import Config, load_config
from hierfl.config.digest import digest
from hierfl.learning import sources
from hierfl.link import link_pb2 as pb
from hierfl.link.link_grid import LinkGrid
from hierfl.link.probe import Verdict
from hierfl.planning.plan import resolve
from hierfl.tls.identity import Identity
from tests.link.nodes import Federation

ROOT = Path(__file__).parents[4]
TINY = ["data.dataset=tests.system.tiny:load", "model=mlp"]
NOWHERE = "192.0.2.1"  # kept for documents: no machine has it


def grades(found: Iterator[Finding]) -> dict[str, str]:
    return {finding.what: finding.grade for finding in found}


# -- versions --------------------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages in which hierfl's own metadata are as pyproject has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = [f"Requires-Dist: {need}" for need in project["dependencies"]]
    needs.append("Requires-Dist: nowhere-to-be-found; extra == 'digits'")
    put(tmp_path, "hierfl", project["version"], "Requires-Python: >=3.11", *needs)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def put(folder: Path, name: str, version: str, *more: str) -> None:
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *more]
    (info / "METADATA").write_text("\n".join(lines) + "\n")


def test_what_is_installed_here_will_do(installed: Path) -> None:
    (found,) = versions()
    assert found.grade == "ok"
    assert "python 3." in found.text and "flwr 1.4" in found.text and "torch 2." in found.text


def test_a_version_that_is_out_of_range_is_named(installed: Path) -> None:
    put(installed, "flwr", "1.39.0")
    (found,) = versions()
    assert (found.grade, found.what) == ("failure", "flwr")
    assert "is 1.39.0, and hierfl needs <1.43,>=1.41." in found.text
    assert found.remedy == "pip install 'flwr<1.43,>=1.41'"


def test_a_package_and_a_python_that_are_not_there(tmp_path: Path, installed: Path) -> None:
    info = next(installed.glob("hierfl-*")) / "METADATA"
    text = info.read_text().replace(">=3.11", ">=3.99")
    info.write_text(text + "Requires-Dist: nowhere-to-be-found>=7\n")
    python, package = versions()
    assert python.grade == "failure" and "hierfl needs >=3.99" in python.text
    assert package.line().startswith(
        "failure  nowhere-to-be-found    is not installed. pip install"
    )


# -- the network -----------------------------------------------------------------------------------


def test_a_name_that_does_not_resolve() -> None:
    found = network.name("kitchen.invalid", listens=False)
    assert found is not None and found.grade == "failure"
    assert "/etc/hosts" in found.remedy


def test_names_that_resolve() -> None:
    assert network.name("127.0.0.1", listens=True) is None
    assert network.name("::1", listens=True) is None
    found = network.name("localhost", listens=True)
    assert found is not None and found.grade == "ok"


def test_a_machine_that_takes_its_own_name_for_itself_alone() -> None:
    name = socket.gethostname()
    if not socket.gethostbyname(name).startswith("127."):
        pytest.skip("this machine's name has an address of its network")
    listening, dialling = (network.name(name, listens=here) for here in (True, False))
    assert listening is not None and listening.grade == "warning"
    assert dialling is not None and dialling.grade == "ok"


def test_a_port_that_a_socket_holds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        number = held.getsockname()[1]
        taken = network.port("kitchen", "edges.0.address", f"127.0.0.1:{number}")
    assert taken.grade == "failure" and f"ss -ltnp sport = :{number}" in taken.remedy
    assert network.port("kitchen", "edges.0.address", f"127.0.0.1:{number}").grade == "ok"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        (f"{NOWHERE}:4700", "not an address of this machine"),
        ("127.0.0.1:0", "the kernel would choose"),
    ],
)
def test_where_no_node_can_listen(address: str, says: str) -> None:
    found = network.port("kitchen", "edges.0.address", address)
    assert found.grade == "failure" and says in found.text and "edges.0.address" in found.remedy


def test_proxies_of_the_environment_are_named_and_do_no_harm() -> None:
    assert network.proxies({}) is None and network.proxies({"https_proxy": ""}) is None
    found = network.proxies({"https_proxy": "http://127.0.0.1:9", "GRPC_PROXY": "x"})
    assert found is not None and found.grade == "ok"
    assert "GRPC_PROXY, https_proxy are set; links are direct" in found.text


def test_the_way_to_a_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "REACH_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        assert network.way("cloud", "cloud.address", address).grade == "ok"
    refused = network.way("kitchen", "edges.0.address", address)
    assert refused.grade == "failure" and "once the cloud is up" in refused.remedy
    for gone in (f"{NOWHERE}:4700", "127.0.0.1:0", "kitchen.invalid:4700"):
        assert network.way("kitchen", "edges.0.address", gone).grade == "failure"


# -- trust -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Federation]:
    place = tmp_path_factory.mktemp("certificates")
    home = Federation(place / "good", starts=-60, days=120)
    return {
        "good": home,
        "foreign": Federation(place / "foreign"),
        "expired": home.sibling(place / "expired", starts=-40, days=30),
        "early": home.sibling(place / "early", starts=5, days=30),
        "ending": home.sibling(place / "ending", starts=-40, days=50),
    }


def tree(kinds: dict[str, Federation], kind: str, address: str = "127.0.0.1:4700") -> Config:
    sets = [*TINY, f"cloud.address='{address}'", f"security.certs={kinds[kind].folder}"]
    sets.append("edges=[{name: a, devices: [a-0]}, {name: b, devices: [b-0]}]")
    return resolve(load_config(None, sets))


@pytest.mark.parametrize(
    ("kind", "grade", "says"),
    [
        ("good", "ok", "is valid until"),
        ("expired", "failure", "expired on"),
        ("early", "failure", "is not valid before"),
        ("ending", "warning", "the certificate expires on"),
    ],
)
def test_a_node_s_own_certificate(
    kinds: dict[str, Federation], kind: str, grade: str, says: str
) -> None:
    found = tls.certificate(tree(kinds, kind), "a")
    assert found.grade == grade and says in found.text
    assert bool(found.remedy) == (grade != "ok")


def test_certificates_that_are_absent_or_not_wanted(tmp_path: Path) -> None:
    config = resolve(load_config(None, TINY))
    assert tls.certificate(config, "east").grade == "ok"
    absent = resolve(load_config(None, [*TINY, f"security.certs={tmp_path}"]))
    found = tls.certificate(absent, "east")
    assert found.grade == "failure" and "hierfl certs" in found.remedy


@pytest.mark.parametrize(
    ("kind", "name", "text", "remedy"),
    [
        ("foreign", "cloud", "no certificate of this federation's CA", "'cloud', of another CA"),
        ("expired", "cloud", "the certificate of cloud has expired", "'cloud', of this CA, valid"),
        ("early", "cloud", "is not valid yet", "'cloud', of this CA, valid from"),
        (
            "good",
            "b",
            "the node at this address is not cloud",
            "the certificate of 'b', of this CA",
        ),
        (None, "cloud", "does not use TLS", "Set security.certs at both"),
    ],
)
def test_somebody_else_in_the_parent_s_place(
    kinds: dict[str, Federation], kind: str | None, name: str, text: str, remedy: str
) -> None:
    identity: Identity | None = kinds[kind][name] if kind else None
    with LinkGrid("127.0.0.1:0", ["a"], credentials=identity, heartbeat=1.0) as grid:
        address = grid.open()
        config = tree(kinds, "good", address)
        way, found, clock = tls.welcome(config, "a", "cloud", "cloud.address", address)
    assert (way.grade, clock.grade) == ("ok", "ok")
    assert found.grade == "failure"
    assert text in found.text and remedy in found.remedy


def test_what_the_parent_would_say(kinds: dict[str, Federation]) -> None:
    config = tree(kinds, "good")
    with LinkGrid(
        "127.0.0.1:0", ["a"], credentials=kinds["good"]["cloud"], plan=digest(config).to_text()
    ) as grid:
        address = grid.open()
        at = "cloud", "cloud.address", address
        way, word, clock = tls.welcome(config, "a", *at)
        assert (way.grade, way.text) == ("ok", f"{address} answers")
        assert (word.grade, word.text) == ("ok", "a would be admitted")
        assert clock.grade == "ok" and clock.text.startswith("is 0.0 s")
        _, word, _ = tls.welcome(config, "b", *at)
        assert word.grade == "failure" and "no child of this node is called 'b'" in word.text
        another = config.model_copy(update={"seed": 2})
        _, word, _ = tls.welcome(another, "a", *at)
        assert word.grade == "failure" and "another configuration" in word.text
        assert grid.faults().rejected == 0


@pytest.mark.parametrize(
    ("ahead", "certified", "grade"),
    [
        (0.5, True, "ok"), (-9.0, True, "ok"), (11.0, True, "ok"),
        (30.0, True, "warning"), (-30.0, False, "warning"), (400.0, False, "warning"),
        (400.0, True, "failure"), (-4000.0, True, "failure"),
    ],
)  # fmt: skip
def test_clocks(ahead: float, certified: bool, grade: str) -> None:
    verdict = Verdict(pb.Goodbye.UNSPECIFIED, "", ahead, unsure=2.0)
    found = tls.clocks("cloud", verdict, certified)
    assert found.grade == grade
    assert ("behind" if ahead > 0 else "ahead of") in found.text


def test_a_clock_alone(kinds: dict[str, Federation]) -> None:
    assert ", 60 days after the certificate was created" in tls.alone(tree(kinds, "good"), "a").text
    found = tls.alone(resolve(load_config(None, TINY)), "cloud")
    assert f"{datetime.now(UTC):%Y-%m-%d}" in found.text or datetime.now(UTC).hour == 0


# -- room ------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)], capture_output=True
    )
    if made.returncode:
        pytest.skip("mounting takes root")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_room_on_a_disk(disk: Path) -> None:
    folder = disk / "runs" / "first"
    assert resources.disk("cloud", folder, 100_000).grade == "ok"
    assert resources.disk("cloud", folder, 1_000_000).grade == "warning"
    filler = (disk / "filler").open("ab", buffering=0)
    with filler, pytest.raises(OSError, match="No space left"):  # noqa: PT012
        while filler.write(bytes(1 << 16)):
            pass
    full = resources.disk("cloud", folder, 100_000)
    assert full.grade == "failure" and full.text.startswith("0 B free")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert resources.disk("cloud", folder, 1).text == f"{disk} cannot be written to."


def test_room_in_memory() -> None:
    ram, swap = resources.available()
    assert 0 < ram < 1 << 45 and swap >= 0
    assert resources.memory("pi", ram // 2, (ram, swap)).grade == "ok"
    assert resources.memory("pi", 2 * ram, (ram, 2 * ram)).grade == "warning"
    assert resources.memory("pi", ram + swap + 1, (ram, swap)).grade == "failure"


def test_a_control_group_s_limit_is_what_there_is(cgroup: Path) -> None:
    program = "from deploy.doctor import resources; print(*resources.available())"
    (cgroup / "memory.limit_in_bytes").write_text(str(100 << 20))
    enter = f"echo $$ > {cgroup}/cgroup.procs && exec {sys.executable} -c '{program}'"
    done = subprocess.run(["sh", "-c", enter], cwd=ROOT, capture_output=True, text=True, check=True)
    ram, swap = map(int, done.stdout.split())
    assert 80 << 20 < ram <= 100 << 20 and swap == 0


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A control group of this test's own, of version 1."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    own = next((path for _, which, path in lines if which == "memory"), None)
    made = Path(f"/sys/fs/cgroup/memory{own}/hierfl-test-doctor")
    try:
        made.mkdir()
    except OSError:
        pytest.skip("no control group of version 1 can be made here")
    try:
        yield made
    finally:
        made.rmdir()


@pytest.mark.parametrize(("limit", "left"), [("max\n", None), ("104857600\n", 100 << 20)])
def test_control_groups_of_version_2(tmp_path: Path, limit: str, left: int | None) -> None:
    (tmp_path / "memory.max").write_text(limit)
    (tmp_path / "memory.current").write_text("52428800\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 1048576\nactive_file 0\n")
    found = resources._left((tmp_path / "memory.max", tmp_path / "memory.current"))
    if left is None:
        assert found is None
    else:
        assert found is not None and 51 << 20 <= found <= left


# -- data, and all of it ---------------------------------------------------------------------------


def test_data_that_are_absent_or_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIERFL_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sources, "SYSTEM", tmp_path)
    config = resolve(load_config(None))
    found, held = workload.data(config, ["east-0"])
    assert held is None and found.grade == "failure"
    assert "hierfl data get fashion-mnist" in found.remedy
    (tmp_path / "fashion-mnist").mkdir()
    for stem in sources.IDX_STEMS:
        (tmp_path / "fashion-mnist" / stem).write_bytes(b"")
    found, held = workload.data(config, ["east-0"])
    assert held is None and found.grade == "failure" and "images" in found.text


def test_a_device_without_samples() -> None:
    config = resolve(load_config(None, [*TINY, "edges=[{name: a, devices: 501}]"]))
    found, held = workload.data(config, ["a-0"])
    assert held is None and found.grade == "failure" and "without samples" in found.text
    config = resolve(load_config(None, [*TINY, "edges=[{name: a, devices: 2}]"]))
    found, held = workload.data(config, ["a-0"])
    assert held is not None and "250 for a-0" in found.text


def test_a_device_whose_edge_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = resolve(load_config(None, TINY))
    with LinkGrid(
        "127.0.0.1:0", config.edge("east").devices, plan=digest(config).to_text()
    ) as grid:
        address = grid.open()
        here = resolve(load_config(None, [*TINY, f"edges.0.address='{address}'"]))
        found = grades(findings(here, "east-0"))
        assert grid.faults().rejected == 0
    del found["versions"]
    assert set(found.values()) == {"ok"}
    assert {
        "to east",
        "admission by east",
        "clock",
        "memory of east-0",
        "disk of east-0",
    } <= found.keys()
    assert grades(findings(here, "east-0"))["to east"] == "failure"


def ends(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as held:
        address = f"127.0.0.1:{held.getsockname()[1]}"
        sets = [part for key in TINY for part in ("--set", key)]
        topology = tmp_path / "topology.yaml"
        topology.write_text(f'cloud: {{address: "{address}"}}\nedges: [{{name: e, devices: 3}}]\n')
        assert ends("doctor", topology, *sets) == 1
        assert "is in use at 127.0.0.1" in capsys.readouterr().out
    assert ends("doctor", topology, *sets) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("0 failures") and all(len(line.split()) > 2 for line in lines)
    assert ends("doctor", topology, *sets, "--name", "cloud") == 0
    assert ends("doctor", topology, *sets, "--name", "e", "--certs", tmp_path) == 1
    assert "does not exist" in capsys.readouterr().out
    assert ends("doctor", topology, *sets, "--name", "f") == 2
    assert not (tmp_path / "runs").exists()
